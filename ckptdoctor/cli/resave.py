"""``ckptdoctor resave``: a checkpoint written anew, checked before a byte of it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import ruledata
from ..render import resave as page_of
from ..render.safe import clean
from . import accepted, inputs
from .exits import FINDINGS, NO_VERDICT, OK, USAGE, exit_code
from .output import page_for, say, write
from .transfer import Transfer

if TYPE_CHECKING:
    from ..resaving.resave import Proposal

_UNITS = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
_FOR = "A loader as you run it, as for check: none may be worse off. Default: as for check."
_SIZE = "Files of at most this size, 0 for a single one. Default: the files stay as they are cut."
_RENAME = "Give names that begin with OLD another beginning (model.language_model.=model.)."


@click.command(
    no_args_is_help=True,
    short_help="Write a checkpoint anew: cut otherwise, without holes, strays or doubles.",
)
@click.argument("checkpoint")
@click.argument("out")
@click.option("--shard-size", metavar="SIZE", help=_SIZE)
@click.option("--drop", metavar="PATTERN", multiple=True, help="Leave out tensors of such a name (vision_*).")
@click.option("--drop-stray", is_flag=True, help="Leave out tensors that the model's class does not ask for.")
@click.option("--rename", metavar="OLD=NEW", multiple=True, help=_RENAME)
@click.option("--for", "targets", metavar="TARGET", multiple=True, help=_FOR)
@click.option("--dry-run", is_flag=True, help="Show what would be written and write nothing.")
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run left.")
@click.option("--verify", is_flag=True, help="Read every byte back and compare before OUT gets its name.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--config", metavar="FILE", help="Settings file, as for check.")
def resave(
    checkpoint: str,
    out: str,
    shard_size: str | None,
    drop: tuple[str, ...],
    drop_stray: bool,
    rename: tuple[str, ...],
    targets: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    verify: bool,
    form: str,
    config: str | None,
) -> int:
    """Write CHECKPOINT anew into the directory OUT, which must be new or empty. CHECKPOINT is only read.

    The values stay as they are; bytes are copied by the system, none is loaded. What would be written is checked
    first, and OUT appears in one step when all of it is there. Exit codes: 0 written, and no error is left · 1
    errors are left · 2 bad usage · 3 it could not be done
    """
    from ..resaving.nouns import ResaveError, ResaveUsage
    from ..resaving.place import fitting
    from ..resaving.planning import Wanted
    from ..resaving.resave import proposed
    from ..sources.local import LocalSource
    from ..sources.single import SingleSource

    path = inputs.existing(checkpoint)
    wanted = Wanted(_size(shard_size), drop, drop_stray, tuple(map(_pair, rename)))
    rulebook = ruledata.load()
    loaders = inputs.targets(targets or accepted.settings(config, [path]).at(path).targets, rulebook)
    try:
        place = fitting(path, out)
        source = LocalSource(path) if Path(path).is_dir() else SingleSource(path)
        proposal = proposed(source, out, wanted, loaders, rulebook)
        seconds = None
        if not dry_run:
            with Transfer(Path(place.out).name) as transfer:
                from ..resaving.writing import Writer

                Writer(proposal.plan, place, source.descriptor, transfer).write(resume=resume, verify=verify)
            seconds = transfer.seconds
    except ResaveError as error:
        say(str(error))
        return USAGE if isinstance(error, ResaveUsage) else NO_VERDICT
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        say(
            f"{name}{error.strerror or error}; {clean(out)} was not made, and --resume goes on when that is mended"
        )
        return NO_VERDICT
    except KeyboardInterrupt:
        say(f"{clean(out)} was not made; the same command with --resume goes on where this stopped")
        raise
    _tell(proposal, out, form, seconds, rulebook)
    return FINDINGS if exit_code([proposal.after], ("error",)) == FINDINGS else OK


def _tell(
    proposal: Proposal, out: str, form: str, seconds: float | None, rulebook: ruledata.Rulebook
) -> None:
    if form == "json":
        write(page_of.as_json(proposal, out, written=seconds is not None), None)
        return
    import sys

    page = page_for(sys.stdout, rulebook, seconds=seconds)
    write(page_of.text(proposal, out, page), None, color=page.color)


def _size(text: str | None) -> int | None:
    """Return the bytes that ``--shard-size`` names. Units are those of transformers: GB is 10^9."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,3}))? ?([KMGT]?I?B?)", text.strip().upper())
    unit = found[3] if found else "?"
    unit = unit if unit.endswith("B") or not unit else f"{unit}B"
    if found is None or unit not in (*_UNITS, "B"):
        raise click.UsageError(
            f"--shard-size {clean(text)}: expected a size such as 5GB, or 0 for a single file."
        )
    return int(float(f"{found[1]}.{found[2] or 0}") * _UNITS.get(unit, 1))


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not old:
        raise click.UsageError(
            f"--rename {clean(text)}: expected OLD=NEW, such as model.language_model.=model."
        )
    return old, new
