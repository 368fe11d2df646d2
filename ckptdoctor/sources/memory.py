"""A checkpoint held in memory: the source behind every card example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .base import Span, Stat, Unavailable


class Content(Protocol):
    """The bytes of one file: ``bytes``, or something that makes them up when asked."""

    def __len__(self) -> int:
        """Return the size in bytes."""
        ...

    def __getitem__(self, where: slice, /) -> bytes:
        """Return a range of bytes."""
        ...


class MemorySource:
    """Files given as bytes, plus files of which only the size is known."""

    def __init__(
        self, label: str, files: Mapping[str, Content], stats: Mapping[str, Stat] | None = None
    ) -> None:
        self.label = label
        self._files = dict(files)
        self._stats = dict(stats or {})

    def entries(self) -> dict[str, Stat]:
        """Return every file, those without bytes included."""
        return {name: Stat(len(data)) for name, data in self._files.items()} | self._stats

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes | Unavailable:
        data = self._files.get(span.path)
        if data is None or span.path in self._stats:
            return Unavailable(f"{span.path}: only its size is known")
        end = None if span.length is None else span.start + span.length
        return data[span.start : end]
