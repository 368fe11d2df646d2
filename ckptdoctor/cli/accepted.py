"""What settings and baselines have to say about a run. Their modules are imported only when there is a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from .. import ruledata
from ..model import Report
from ..model.words import amount
from ..render.safe import clean
from ..ruledata import Rulebook
from ..settings import Section, Settings, SettingsError, apply, find, read
from .output import here, say, write


def settings(config: str | None, checkpoints: Sequence[str]) -> Settings:
    """Return the settings in ``config``, which are trusted, else those found from here upwards, else none at all."""
    file = Path(config) if config is not None else find(start) if (start := here()) else None
    if file is None:
        return Settings()
    shown = os.path.relpath(file) if config is None else config
    if config is None and any(_inside(file, checkpoint) for checkpoint in checkpoints):
        say(f"{shown} lies in the checkpoint it would judge and is not used; --config {shown} trusts it")
        return Settings()
    try:
        return read(file, shown)._replace(trusted=config is not None)
    except SettingsError as error:
        raise click.UsageError(clean(str(error))) from error
    except OSError as error:
        raise click.UsageError(f"{clean(shown)}: {error.strerror or error}") from error


def rulebook(settings: Settings) -> Rulebook:
    """Return the rulebook of a run, with the settings' own rules; of a file nobody named, with none of them."""
    if settings.brings and not settings.trusted:
        what = " and ".join(settings.brings)
        say(f"{settings.file}: its {what} are not used; --config {settings.file} trusts the file")
    return _with_own(settings) if settings.brings and settings.trusted else ruledata.load()


def _with_own(settings: Settings) -> Rulebook:
    """Return our rulebook with the card directories and plug-ins of ``settings``."""
    # By name, so that the compiler and its YAML parser are no part of the import graph of a run.
    try:
        custom = import_module("ckptdoctor.rulebook.custom")
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"{clean(settings.file)}: own rules need {error.name}: pip install 'ckptdoctor[rules]'"
        ) from error
    for name in settings.plugins:
        _plugin(name, settings.file)
    found: Rulebook = custom.extended(ruledata.load(), settings.rules, settings.plugins)
    return found


def configured(config: str | None) -> Rulebook:
    """Return our rulebook, to which a settings file that was named, and no other, adds its rules."""
    return ruledata.load() if config is None else _with_own(settings(config, ()))


def _plugin(name: str, file: str) -> None:
    from importlib.util import find_spec

    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or find_spec(f"ckptdoctor.checks.{name}"):
        raise click.UsageError(
            f"{file}: plug-in {clean(name)}: expected the name of a module that is not ours"
        )
    try:
        import_module(name)
    except Exception as error:  # whatever its code does, the user must learn which plug-in it was
        what = clean(f"{type(error).__name__}: {error}")
        raise click.UsageError(f"{file}: plug-in {name} cannot be imported: {what}") from error


def applied(
    reports: Sequence[Report],
    sections: Sequence[Section],
    settings: Settings,
    baseline: str | None,
    *,
    partly: bool,
) -> list[Report]:
    """Return ``reports`` as settings and baseline see them; what a baseline holds and is gone is told on stderr.

    ``partly``: only some rules ran, so that nothing can be said to be gone.
    """
    judged = [apply(report, section) for report, section in zip(reports, sections, strict=True)]
    file = Path(baseline) if baseline is not None else settings.baseline
    if file is None:
        return judged
    from .. import baseline as known

    try:
        entries = known.read(file)
    except (known.BaselineError, OSError) as error:
        raise click.UsageError(clean(str(error))) from error
    result = []
    for report in judged:
        kept, gone = known.apply(report, entries, file)
        result.append(kept)
        for entry in () if partly else gone:
            say(f"{report.target}: no longer found, drop it from the baseline: {entry.rule}: {entry.message}")
    return result


def write_baseline(reports: Sequence[Report], path: str) -> None:
    """Write a baseline of ``reports``; what an existing one says of other checkpoints stays."""
    from .. import baseline as known

    file = Path(path)
    try:
        before = known.read(file) if file.exists() else {}
        write(known.render(reports, file, before), path)
    except (known.BaselineError, OSError) as error:
        raise click.UsageError(clean(str(error))) from error
    count = sum(len(report.findings) for report in reports)
    say(f"{path}: {amount(count, 'finding')} accepted")


def _inside(file: Path, checkpoint: str) -> bool:
    here, top = os.path.realpath(file.parent), os.path.realpath(checkpoint)
    return here == top or here.startswith(top.rstrip(os.sep) + os.sep)
