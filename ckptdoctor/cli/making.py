"""``ckptdoctor env --make``: an environment that has the loader, for those who have none."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from ..render.safe import clean
from ..ruledata import Rulebook
from . import interpreters
from .exits import NO_VERDICT, OK
from .output import say


def make(folder: str, target: str, device: str, python: str | None, rulebook: Rulebook) -> int:
    """Make an environment for a ``--for`` text in ``folder`` and return the exit code."""
    from ..probe.making import BESIDE, Failure, Maker, plan
    from ..targets import TargetError, parse_target, split

    try:
        loader, named = split(target, rulebook)
        versions = {name: version for name, version in named.versions.items() if version}
        versions.setdefault(loader, parse_target(loader, rulebook).version)
    except TargetError as error:
        raise click.UsageError(clean(str(error))) from error
    if loader not in BESIDE:
        raise click.UsageError(f"--for {clean(target)}: environments are made for {', '.join(BESIDE)}.")
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise click.UsageError(f"--make {clean(folder)}: is there already; name a directory that is not.")
    if not place.absolute().parent.is_dir():
        raise click.UsageError(f"--make {clean(folder)}: there is no {clean(str(place.absolute().parent))}.")
    interpreter = interpreters.place(python)[0] if python else sys.executable
    wanted = plan({loader: versions.pop(loader), **versions}, loader, device, rulebook)
    log = Path(f"{str(place).rstrip('/')}.log")
    try:
        with log.open("wb") as file:
            Maker(place.absolute(), interpreter, file, say).make(wanted)
    except Failure as failure:
        say(f"{failure}; the log is {log}")
        return NO_VERDICT
    log.unlink()
    say(f"done: ckptdoctor load CHECKPOINT --python {shlex.quote(folder)}")
    return OK
