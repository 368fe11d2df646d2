"""What may happen to the files of a checkpoint: the few kinds of change that edits come down to."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Replace(NamedTuple):
    """Write a small file whole (JSON, index)."""

    file: str
    content: bytes
    was: bytes | None
    """The bytes that are there now; None when the file must not exist yet."""


class Patch(NamedTuple):
    """Overwrite the first bytes of a large file in place: the new header takes as much room as the old one."""

    file: str
    content: bytes
    was: bytes
    """The bytes that are there now; as many as ``content``."""


class Splice(NamedTuple):
    """Give a large file another, longer or shorter head: a sibling is written with ``head`` and the old rest."""

    file: str
    head: bytes
    was: bytes
    """The bytes that begin the file now."""


class Truncate(NamedTuple):
    """Cut a file to ``size`` bytes."""

    file: str
    size: int
    was: int
    """Its size now, in bytes."""


class Move(NamedTuple):
    """Rename a file within the checkpoint; ``to`` must not exist."""

    file: str
    to: str


class Rename(NamedTuple):
    """Rename the checkpoint's directory to ``to``, a name beside it that must not exist; last and alone."""

    to: str


Change: TypeAlias = Replace | Patch | Splice | Truncate | Move | Rename
