"""What a repair changes, each edit with what must be there before."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .words import Safety


class JsonSet(NamedTuple):
    """Set the value at a JSON pointer (``was`` is a 1-tuple with the old value, or () if the key is absent)."""

    file: str
    pointer: str
    value: object
    was: tuple[object, ...] = ()


class JsonDrop(NamedTuple):
    """Remove the key at a JSON pointer."""

    file: str
    pointer: str
    was: tuple[object, ...]


class TensorRename(NamedTuple):
    """Give a tensor another name in its shard's header (and in the index)."""

    file: str
    tensor: str
    to: str


class TensorView(NamedTuple):
    """Read the same bytes of a tensor as another dtype and shape (header edit only)."""

    file: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    was: tuple[str, tuple[int, ...]]


class MetaSet(NamedTuple):
    """Set (or with ``value=None`` drop) a key of a shard's ``__metadata__``."""

    file: str
    key: str
    value: str | None
    was: str | None


class FileWrite(NamedTuple):
    """Write a whole small file; ``was`` is its sha256, or None when it must not exist."""

    file: str
    content: bytes
    was: str | None


class FileMove(NamedTuple):
    """Rename a file inside the checkpoint."""

    file: str
    to: str


class FileDrop(NamedTuple):
    """Cut a file to ``size`` bytes (proven trailing bytes only)."""

    file: str
    size: int
    was: int


class DirRename(NamedTuple):
    """Rename the checkpoint's directory (last and alone in a plan)."""

    to: str


Edit: TypeAlias = (
    JsonSet | JsonDrop | TensorRename | TensorView | MetaSet | FileWrite | FileMove | FileDrop | DirRename
)


class Fix(NamedTuple):
    """A repair: what it is called, how sure it is, and the edits (none when it is manual)."""

    title: str
    safety: Safety
    edits: tuple[Edit, ...] = ()
