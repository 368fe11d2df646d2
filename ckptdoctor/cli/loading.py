"""What a test load needs to know before it starts, and what it shows while it runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..model import Target
from ..render.layout import size
from ..render.safe import clean
from ..ruledata import Rulebook
from . import interpreters
from .output import OutputError
from .progress import Line

_WORDS = {
    "import": "importing the loader",
    "build": "building the model",
    "weights": "reading weights",
    "compare": "comparing with the files",
    "profile": "profile run",
    "generate": "running it",
}


def together(reference: str | None, plot: str | None, alone: Mapping[str, object]) -> None:
    """Raise UsageError for options that say nothing: ``--plot`` without ``--compare``, one of ``alone`` with it."""
    if reference is None and plot is not None:
        raise click.UsageError("--plot needs --compare REFERENCE.")
    for name, value in alone.items():
        if reference is not None and value:
            raise click.UsageError(
                f"{name} does not go with --compare, which loads two models and runs both."
            )


def new_directory(path: str, option: str) -> None:
    """Raise UsageError unless ``path`` can be made."""
    if Path(path).exists() or not Path(path).absolute().parent.is_dir():
        raise click.UsageError(f"{option} {clean(path)}: expected a new directory in one that is there.")


def target(text: str | None, python: str | None, rulebook: Rulebook, *, adapter: bool) -> tuple[Target, str]:
    """Return the loader as it is installed, and its interpreter.

    Raises UsageError for what cannot be meant, OutputError (exit 3) where the environment has not what is asked for.
    """
    from ..probe.loading import LOADERS
    from ..targets import TargetError, complete, distributions, split

    interpreter, paths = interpreters.place(python)
    if not interpreter:
        raise click.UsageError(
            f"--python {clean(str(python))}: expected an interpreter or a virtual environment."
        )
    there = {package: version for package, (_, version) in distributions(rulebook, paths).items()}
    try:
        loader, named = split(text, rulebook) if text else (_default(there, adapter=adapter), None)
    except TargetError as error:
        raise click.UsageError(clean(str(error))) from error
    if loader not in LOADERS:
        raise click.UsageError(f"--for {clean(str(text))}: a test load is there for {', '.join(LOADERS)}.")
    if named is not None and named.options.get("tp", 1) != 1:
        raise click.UsageError("a test load takes one device: leave tp out.")
    _present(loader, {} if named is None else named.versions, there, interpreter, text, rulebook)
    versions = {
        loader: _public(there[loader]),
        **{name: _public(v) for name, v in there.items() if name != loader},
    }
    known = {
        name: version
        for name, version in versions.items()
        if name == loader or name in _companions(loader, rulebook)
    }
    options = {} if named is None else named.options
    return complete(loader, known, options, rulebook, origin="installed", with_plugins=False), interpreter


def _default(there: Mapping[str, str], *, adapter: bool) -> str:
    order = ("vllm", "peft") if adapter else ("vllm", "transformers")
    return next((loader for loader in order if loader in there), order[-1])


def _companions(loader: str, rulebook: Rulebook) -> set[str]:
    return set(rulebook.loaders[loader].get("companions") or ())


def _present(
    loader: str,
    named: Mapping[str, str],
    there: Mapping[str, str],
    interpreter: str,
    text: str | None,
    rulebook: Rulebook,
) -> None:
    wanted = [f"{name}=={version}" if version else name for name, version in named.items()] or [loader]
    missing = [
        f"{name} {there[name]}" if name in there else f"no {name}"
        for name, version in {loader: "", **named}.items()
        if name not in there or (version and _public(there[name]) != _public(version))
    ]
    if not missing:
        return
    make = f"ckptdoctor env --make DIR --for {text or loader}"
    hint = _neighbour(loader, rulebook)
    raise OutputError(
        f"{interpreter} has {' and '.join(missing)}; asked for {', '.join(wanted)}."
        + (f" {hint} has {loader}: --python {shlex.quote(hint)}" if hint else f" Make an environment: {make}")
    )


def _neighbour(loader: str, rulebook: Rulebook) -> str:
    """Return a virtual environment in the working directory that has the loader; it is proposed, never taken."""
    from ..targets import distributions

    for name in (".venv", "venv"):
        folder = Path(name)
        there = distributions(rulebook, map(str, folder.glob("lib/python*/site-packages")))
        if loader in there and interpreters.interpreter_in(folder) is not None:
            return name
    return ""


def _public(version: str) -> str:
    return version.partition("+")[0]


class Stages(Line):
    """The stage of a load on stderr, for people only."""

    def __init__(self) -> None:
        super().__init__(patience=0)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        if not self.due():
            return
        words = _WORDS.get(str(event.get("stage", "")), "")
        done, total = event.get("done"), event.get("total")
        if isinstance(done, int) and isinstance(total, int) and total:
            words += f": {size(done)} of {size(total)}"
        self.draw(f"{words}  ({time.monotonic() - self.begun:.0f} s)")
