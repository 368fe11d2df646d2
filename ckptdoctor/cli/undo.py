"""``ckptdoctor undo``: take back the last repair, byte for byte."""

from __future__ import annotations

import sys

import click

from ..render.safe import clean
from .exits import NO_VERDICT, OK


@click.command(no_args_is_help=True, short_help="Take back the last repair, byte for byte.")
@click.argument("checkpoint")
@click.argument("number", required=False)
def undo(checkpoint: str, number: str | None) -> int:
    """Take back what the last `ckptdoctor fix` did to CHECKPOINT; its old name will do, if it was renamed.

    Exit codes: 0 it is as it was · 3 that could not be done, and nothing was changed
    """
    from ..fixing.errors import FixError
    from ..fixing.undo import undo as take_back

    try:
        done = take_back(checkpoint, number)
    except (FixError, OSError) as error:
        sys.stderr.write(f"ckptdoctor: {clean(str(error))}\n")
        return NO_VERDICT
    sys.stdout.write(f"{clean(done.root)} is as it was before {done.id} ({clean(done.title)}).\n")
    return OK
