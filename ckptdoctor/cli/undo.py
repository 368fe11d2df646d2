"""``ckptdoctor undo``: take back the last repair, byte for byte."""

from __future__ import annotations

import click

from ..render.safe import clean, inert
from .exits import NO_VERDICT, OK
from .output import say, write

_FORGET = "Take back what can be taken back, leave the rest as it is, and drop the entry that says so."


@click.command(no_args_is_help=True, short_help="Take back the last repair, byte for byte.")
@click.argument("checkpoint")
@click.argument("number", required=False)
@click.option("--forget", is_flag=True, help=_FORGET)
def undo(checkpoint: str, number: str | None, forget: bool) -> int:
    """Take back what the last `ckptdoctor fix` did to CHECKPOINT; its old name will do, if it was renamed.

    Exit codes: 0 it is as it was, or --forget did what could be done · 3 that could not be done; the message says
    whether anything was changed
    """
    from ..fixing.errors import FixError
    from ..fixing.undo import undo as take_back

    try:
        done = take_back(checkpoint, number, forget=forget)
    except (FixError, OSError) as error:
        say(str(error))
        return NO_VERDICT
    for note in done.notes:
        say(note)
    if not done.left:
        write(inert(f"{clean(done.root)} is as it was before {done.id} ({clean(done.title)}).\n"), None)
        return OK
    for reason in done.left:
        write(f"left as it is: {clean(reason)}\n", None)
    write(
        f"{done.id} ({clean(done.title)}) is forgotten in {clean(done.root)}. The bytes kept for what was left lie in "
        f"{clean(done.kept)}; remove it when you do not need them.\n",
        None,
    )
    return OK
