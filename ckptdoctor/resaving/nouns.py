"""What a re-save is made of: tensors as pieces of source files, and the shards they go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Piece(NamedTuple):
    """Bytes of one source file."""

    file: str
    offset: int
    length: int


class Tensor(NamedTuple):
    """One tensor to be written: its bytes are the ``pieces`` one after the other."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return sum(piece.length for piece in self.pieces)


class Chosen(NamedTuple):
    """The tensors of one source file that are kept, and what its ``__metadata__`` says."""

    file: str
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]


class OutShard(NamedTuple):
    """One file to be written: length field and header, then the pieces."""

    name: str
    head: bytes
    pieces: tuple[Piece, ...]
    tensors: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.head) + sum(piece.length for piece in self.pieces)


class Plan(NamedTuple):
    """All that is written, in the order it is written: shards, then what is carried over, then texts (index last)."""

    shards: tuple[OutShard, ...]
    carried: tuple[tuple[str, int], ...]
    """Files copied whole, with their size in bytes."""
    texts: tuple[tuple[str, bytes], ...]
    left_out: tuple[str, ...]
    """Files of the source of which nothing is written."""
    notes: tuple[str, ...]
    """What is done with the tensors, in words."""
    sources: Mapping[str, tuple[int, int]]
    """Size in bytes and time of change (ns) of every file that is read."""

    @property
    def size(self) -> int:
        """Bytes written in all."""
        whole = sum(size for _, size in self.carried) + sum(len(content) for _, content in self.texts)
        return whole + sum(shard.size for shard in self.shards)

    @property
    def tensors(self) -> int:
        """Tensors written in all."""
        return sum(len(shard.tensors) for shard in self.shards)


class ResaveError(Exception):
    """It cannot be done; the message says what was expected, what was found and what to do."""


class ResaveUsage(ResaveError):
    """What was asked for makes no sense: bad usage."""
