"""What a source of bytes is: the protocol shared by disk, memory, corpus rows, overlays and the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

MAX_FILES = 250_000
"""Files and folders of one checkpoint that are looked at; the largest published ones have some thousand."""


class Unavailable(Exception):
    """The bytes of a file cannot be had (LFS pointer, metadata-only clone, a link that leaves the directory)."""


class Stat(NamedTuple):
    """What is known of one file without reading it."""

    size: int
    """Size in bytes of the real content (for an LFS pointer: the size the pointer states)."""
    state: Literal[
        "here", "pointer", "absent", "link-out", "not-a-file", "unreadable", "foreign", "beyond"
    ] = "here"
    """``pointer``: a Git LFS pointer lies in its place; ``absent``: known by name and size only; ``foreign``:
    a ``.ckptdoctor`` with something in it that was not written here, which is never opened; ``beyond``: the first
    of more than ``MAX_FILES`` that was not looked at, and none was after it."""
    sha256: str | None = None
    """Expected digest, when a pointer states it."""


class Span(NamedTuple):
    """A byte range of a file; ``length`` of None means to the end."""

    path: str
    start: int
    length: int | None


def is_remote(source: Source) -> bool:
    """Whether bytes come over a network: a commit is known then, and every read costs a round trip."""
    return getattr(source, "revision", None) is not None


class Source(Protocol):
    """Names, sizes and byte ranges of one checkpoint. It never parses and never leaves its root."""

    label: str
    """The path exactly as the user typed it (name rules look at it verbatim)."""

    def entries(self) -> dict[str, Stat]:
        """Return every file below the root (depth ≤ 3), by relative POSIX path."""
        ...

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span, short when the file ends earlier, or why they cannot be had.

        One call may fetch in parallel; order and length of the result match ``spans``.
        """
        ...
