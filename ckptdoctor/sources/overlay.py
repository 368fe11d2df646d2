"""A checkpoint as it would be after some changes, without a byte of it written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from .base import Source, Span, Stat, Unavailable


class Layer(NamedTuple):
    """One file: ``head``, then the ``spans`` of the source underneath one after the other."""

    head: bytes = b""
    spans: Sequence[tuple[str, int, int]] = ()
    """File, offset and length in bytes."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.head) + sum(length for _, _, length in self.spans)


class Overlay:
    """``source`` with other files in it: ``layers`` by name, None for one that is gone."""

    def __init__(self, source: Source, layers: Mapping[str, Layer | None], label: str | None = None) -> None:
        self.label = source.label if label is None else label
        self._source = source
        self._layers = {name: None if layer is None else _Placed(layer) for name, layer in layers.items()}

    def entries(self) -> dict[str, Stat]:
        """Return every file, in order of name."""
        found = {name: stat for name, stat in self._source.entries().items() if name not in self._layers}
        found |= {name: Stat(layer.size) for name, layer in self._layers.items() if layer is not None}
        return dict(sorted(found.items()))

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span, those of the source underneath in one call."""
        parts = [self._parts(span) for span in spans]
        wanted = [part for pieces in parts for part in pieces if isinstance(part, Span)]
        got = iter(self._source.read_many(wanted) if wanted else [])
        return [
            _joined([next(got) if isinstance(part, Span) else part for part in pieces]) for pieces in parts
        ]

    def _parts(self, span: Span) -> list[bytes | Unavailable | Span]:
        if span.path not in self._layers:
            return [span]
        layer = self._layers[span.path]
        if layer is None:
            return [Unavailable(f"{span.path}: no such file")]
        end = layer.size if span.length is None else min(layer.size, span.start + span.length)
        return list(layer.between(span.start, end)) if span.start < end else [b""]


class _Placed:
    """A layer and where in the file each of its parts begins."""

    def __init__(self, layer: Layer) -> None:
        self._head = layer.head
        self._spans = layer.spans
        self._begins = list(accumulate((length for *_, length in layer.spans), initial=len(layer.head)))
        self.size = self._begins[-1]

    def between(self, start: int, end: int) -> Iterator[bytes | Span]:
        """Yield what stands from byte ``start`` to byte ``end``."""
        if start < len(self._head):
            yield self._head[start:end]
        for number in range(max(bisect_right(self._begins, start) - 1, 0), len(self._spans)):
            file, offset, length = self._spans[number]
            begin = max(start - self._begins[number], 0)
            length = min(length, end - self._begins[number])
            if length <= 0:
                return
            if begin < length:
                yield Span(file, offset + begin, length - begin)


def _joined(parts: Sequence[bytes | Unavailable]) -> bytes | Unavailable:
    return next(
        (part for part in parts if isinstance(part, Unavailable)),
        b"".join(p for p in parts if isinstance(p, bytes)),
    )
