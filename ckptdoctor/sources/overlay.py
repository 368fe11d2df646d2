"""A checkpoint as it would be after some changes, without a byte of it written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .base import Source, Span, Stat, Unavailable


class Layer(NamedTuple):
    """One file: ``head``, then the bytes of ``base`` from ``skip`` on, ``size`` bytes in all."""

    size: int
    head: bytes = b""
    base: str = ""
    """The file of the source underneath, "" for a file that is ``head`` alone."""
    skip: int = 0


class Overlay:
    """``source`` with other files in it: ``layers`` by name, None for one that is gone."""

    def __init__(self, source: Source, layers: Mapping[str, Layer | None], label: str | None = None) -> None:
        self.label = source.label if label is None else label
        self._source = source
        self._layers = dict(layers)

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
        if span.start >= end:
            return [b""]
        here = len(layer.head)
        parts: list[bytes | Unavailable | Span] = [layer.head[span.start : min(end, here)]]
        if layer.base and end > here:
            begin = max(span.start, here)
            parts.append(Span(layer.base, layer.skip + begin - here, end - begin))
        return parts


def _joined(parts: Sequence[bytes | Unavailable]) -> bytes | Unavailable:
    return next(
        (part for part in parts if isinstance(part, Unavailable)),
        b"".join(p for p in parts if isinstance(p, bytes)),
    )
