"""From paths and options to reports and an exit code: what ``check`` and ``hook`` share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from ..folding import changed
from ..model import BytesRead, Crash, Report, Target
from ..render import render
from ..render.safe import clean
from ..ruledata import Rulebook, RulebookError
from ..settings import Settings
from . import accepted, inputs
from .exits import DEBUG, NO_VERDICT, OK, worst_code
from .output import deliver, here, page_for
from .progress import Progress

if TYPE_CHECKING:
    from ..sources.base import Source


class Options(NamedTuple):
    """What the command line says."""

    targets: tuple[str, ...] = ()
    changed_only: bool = False
    form: str = "text"
    output: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    metadata_only: bool = False
    verbose: bool = False
    config: str | None = None
    baseline: str | None = None
    write_baseline: str | None = None
    base: str | None = None
    pointers: frozenset[str] = frozenset()
    """Checkpoints whose weights lie elsewhere by agreement: judged from metadata, and no verdict is no failure."""
    gate: bool = False
    """Let nothing pass of which no loader could look at the weights (pickles alone), whatever ``fail_on`` says."""


def run(paths: Sequence[str], options: Options) -> int:
    """Check what ``paths`` name, write the report, and return the exit code."""
    begun = time.perf_counter()
    for file in (options.output, options.write_baseline):
        if file is not None and not Path(file).parent.is_dir():
            raise click.UsageError(f"{clean(file)}: there is no such directory.")
    places = _Places(paths)
    settings = accepted.settings(options.config, places.found)
    rulebook = accepted.rulebook(settings)
    reports = _Run(settings, options, rulebook).reports(places)
    sections = [settings.at(report.target) for report in reports]
    reports = accepted.applied(reports, sections, settings, options.baseline, partly=bool(options.select))
    shown = [changed(report) for report in reports] if options.changed_only else reports
    _write(shown, options, rulebook, places.below, time.perf_counter() - begun)
    limits = [options.fail_on or section.fail_on or ("error",) for section in sections]
    code = worst_code(reports, limits, options.pointers, gate=options.gate)
    if options.write_baseline is not None:
        accepted.write_baseline(reports, options.write_baseline)
        return NO_VERDICT if code == NO_VERDICT else OK
    return code


def _write(
    reports: Sequence[Report], options: Options, rulebook: Rulebook, below: str, seconds: float
) -> None:
    stream = None if options.output is not None else sys.stdout
    page = page_for(stream, rulebook, verbose=options.verbose, seconds=seconds)
    page = page._replace(below=below, base=str(here() or ""))
    deliver(render(options.form, reports, page), options.output, color=page.color)
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.form == "github" and path:
        _summary(render("markdown", reports, page), path)


def _summary(text: str, path: str) -> None:
    """Append ``text`` to the summary page of a GitHub job."""
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"GITHUB_STEP_SUMMARY={path}: {error.strerror or error}") from error


MAX_BELOW = 3000
"""Checkpoints below one directory that are checked in one run: half a minute and 500 MB for small ones."""


class _Places:
    """The checkpoints that paths stand for."""

    def __init__(self, paths: Sequence[str]) -> None:
        from ..sources.discover import checkpoints_below

        self.found: list[str] = []
        self.failed: dict[str, str] = {}
        self.below = ""
        """The directory they lie below when one path stood for several."""
        for path in paths:
            try:
                places = checkpoints_below(path, MAX_BELOW + 1) if Path(path).is_dir() else [Path(path)]
            except OSError as error:
                self.failed[path] = f"cannot be read: {error.strerror or error}"
                places = []
            # A name rule looks at the path as it was typed, which Path would tidy up.
            found = (
                [path] if inputs.on_hub(path) or places == [Path(path)] else [str(place) for place in places]
            )
            if not found:
                self.failed.setdefault(path, inputs.without_checkpoint(path))
            elif len(found) > 1 and len(paths) == 1:
                self.below = path
            if len(found) > MAX_BELOW:
                others = (
                    f"more than {MAX_BELOW} checkpoints here or below: those after {found[MAX_BELOW - 1]} are"
                )
                self.failed[path] = f"{others} not checked. Name the folders in it, some at a time."
                found[MAX_BELOW:] = [path]
            self.found += found or [path]
        self._open: dict[str, Source] = {}

    def source(self, path: str) -> Source:
        """Return what ``path`` stands for, opened once. Raises OSError."""
        from ..sources import open_source

        if path not in self._open:
            self._open[path] = open_source(path)
        return self._open[path]

    def is_adapter(self, path: str) -> bool:
        """Tell whether ``path`` is an adapter's directory: it has adapter_config.json and no config.json."""
        if not inputs.on_hub(path):
            return inputs.is_adapter(path)
        try:
            there = self.source(path).entries()
        except OSError as error:
            self.failed[path] = str(error)
            return False
        return "adapter_config.json" in there and "config.json" not in there


class _Run:
    """One run's way from a path to its report."""

    def __init__(self, settings: Settings, options: Options, rulebook: Rulebook) -> None:
        self._settings = settings
        self._options = options
        self._rulebook = rulebook
        self._select = inputs.rules(options.select, "--select", rulebook)
        self._ignore = inputs.rules(options.ignore, "--ignore", rulebook)
        self._base = None if options.base is None else inputs.base(options.base)
        self._targets: dict[tuple[str, ...], tuple[Target, ...]] = {}
        for name in settings.named:
            inputs.rules([name], settings.file, rulebook)

    def reports(self, places: _Places) -> list[Report]:
        """Return one report per place; one that cannot be read has a report that says so."""
        for path in places.found:  # a target nobody knows is found out before anything is read
            self._for(path, places)
        return [
            _unchecked(path, places.failed[path]) if path in places.failed else self._look(path, places)
            for path in places.found
        ]

    def _for(self, path: str, places: _Places) -> tuple[Target, ...]:
        texts = self._options.targets or self._settings.at(path).targets
        adapter = not texts and places.is_adapter(path)
        key = ("adapter",) if adapter else texts
        if key not in self._targets:
            self._targets[key] = inputs.targets(texts, self._rulebook, adapter=adapter)
            if self._options.changed_only:
                inputs.comparable(self._targets[key])
        return self._targets[key]

    def _look(self, path: str, places: _Places) -> Report:
        from ..engine import check_source

        try:
            with Progress(Path(path).name) as progress:
                return check_source(
                    places.source(path),
                    self._for(path, places),
                    self._rulebook,
                    metadata_only=self._options.metadata_only or path in self._options.pointers,
                    progress=progress,
                    select=self._select or self._settings.at(path).select,
                    ignore=self._ignore,
                    base=self._base,
                )
        except OSError as error:
            return _unchecked(path, f"cannot be read: {error.strerror or error}")
        except (
            Exception
        ) as error:  # ours to answer for, and no reason to keep quiet about the other checkpoints
            if isinstance(error, RulebookError) or DEBUG in os.environ:
                raise
            crash = Crash("engine", f"{type(error).__name__}: {error}")
            return _unchecked(path, "")._replace(crashes=(crash,))


def _unchecked(path: str, why: str) -> Report:
    return Report(path, (), (), (), (), (), BytesRead(), nothing=why)
