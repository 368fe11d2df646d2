"""What an earlier run that was cut short left: told, and rolled back only when that is agreed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from ..render.layout import Line, Segment, hang, paint, seg
from ..render.safe import clean, inert
from ..sources import ownership
from .output import page_for, say

if TYPE_CHECKING:
    from ..fixing.records import Entry

FEW = 20
"""Files of one entry that are told one by one."""


def settled(path: str, stream: TextIO, agreed: Callable[[str], bool]) -> str | None:
    """Return where the checkpoint is once nothing is left half done, None when that was not agreed to.

    Tells first what would be rolled back. Raises FixError or OSError when it cannot be.
    """
    from ..fixing import recovery

    entries = recovery.left(path)
    if not entries:
        return path
    for entry in reversed(entries):
        stream.write(_page(path, entry, stream))
    stream.flush()
    if not agreed("Roll it back?"):
        stream.write(
            "\nNothing was written. `ckptdoctor fix --yes` or `ckptdoctor undo` rolls it back first.\n"
        )
        return None
    done = recovery.recover(path)
    for note in done.notes:
        stream.write(inert(f"  {clean(note)}\n"))
    stream.write("Rolled back.\n\n")
    return done.root


def tell_foreign(path: str) -> None:
    """Say on stderr what lies where our journal does and is not ours."""
    found = ownership.foreign(path)
    if found:
        more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
        words = "not written here, by you, for this directory: not used"
        say(f"{path}: {found[0]}{more} {words}")


def _page(path: str, entry: Entry, stream: TextIO) -> str:
    from ..fixing.recovery import outlook

    page = page_for(stream)
    words = f"a repair was interrupted here: {entry.id} ({entry.title})"
    lines: list[Line] = [*hang([seg(path, "strong"), Segment("  ")], words, page)]
    told = outlook(path, entry)
    for line in told[:FEW]:
        lines += hang([Segment("  rolling back  ", "info")], line, page, indent=16)
    if len(told) > FEW:
        lines.append([Segment(f"  … and {len(told) - FEW:,} more files", "dim")])
    if not told:
        lines.append([Segment("  no file was changed; only the record of it goes", "dim")])
    return paint(lines, page)
