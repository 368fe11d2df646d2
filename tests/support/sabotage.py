"""Real rows of the corpus, sabotaged: names changed in every index and header, shapes left as they are."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ckptdoctor.sources.base import Span, Stat, Unavailable
from tests.support.corpus_source import CorpusSource, Row

Names = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From tensors (name → header entry, or file in an index) to those of the sabotaged checkpoint."""
_INDEX = re.compile(r"\.(\d+)\.")
_LINEAR = re.compile(r"\.(down_proj|o_proj|w2|wo|c_proj|dense_4h_to_h|dense|fc2|out_proj)\.weight$")


class Sabotaged:
    """A row whose JSON and headers say other names."""

    def __init__(self, row: Row, change: Names) -> None:
        self._inner = CorpusSource(row.path)
        self.label = self._inner.label
        self._made: dict[str, bytes] = {}
        for name in self._inner.entries():
            if name.endswith(".safetensors.index.json"):
                self._index(name, change)
            elif name.endswith(".safetensors"):
                self._header(name, change)

    @property
    def changed(self) -> bool:
        """Whether there was anything to sabotage."""
        return bool(self._made)

    def entries(self) -> dict[str, Stat]:
        """Return every file of the row."""
        sizes = self._inner.entries()
        return sizes | {name: Stat(len(data)) for name, data in self._made.items() if name.endswith(".json")}

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return what bytes there are, the sabotaged ones first."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes | Unavailable:
        data = self._made.get(span.path)
        if data is None:
            return self._inner.read_many([span])[0]
        if not span.path.endswith(".json") and span.start >= len(data):
            return Unavailable(f"{span.path}: only its header is known")
        return data[span.start : None if span.length is None else span.start + span.length]

    def _index(self, name: str, change: Names) -> None:
        read = self._inner.read_many([Span(name, 0, None)])[0]
        try:
            value = json.loads(read) if isinstance(read, bytes) else {}
        except ValueError:
            return
        listed = value.get("weight_map") if isinstance(value, dict) else None
        if isinstance(listed, dict) and (changed := change(listed)) != listed:
            self._made[name] = json.dumps({**value, "weight_map": changed}).encode()

    def _header(self, name: str, change: Names) -> None:
        start = self._inner.read_many([Span(name, 0, 8)])[0]
        if not isinstance(start, bytes) or len(start) < 8:
            return
        (length,) = struct.unpack("<Q", start)
        text = self._inner.read_many([Span(name, 8, length)])[0]
        if not isinstance(text, bytes) or len(text) != length:
            return
        header = json.loads(text)
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        if (changed := change(tensors)) != tensors:
            about = {key: value for key, value in header.items() if key == "__metadata__"}
            made = json.dumps({**about, **changed}, separators=(",", ":")).encode()
            self._made[name] = struct.pack("<Q", len(made)) + made


def renamed(names: Mapping[str, Any]) -> dict[str, Any]:
    """Put ``foo.`` before every name."""
    return {f"foo.{name}": value for name, value in names.items()}


def without_a_kind(names: Mapping[str, Any]) -> dict[str, Any]:
    """Drop one kind of matrix from all layers."""
    return _without(names, (name for name in names if _LINEAR.search(name) and _INDEX.search(name)))


def without_a_layer(names: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the last layer of the longest stack."""
    numbers = [int(match[1]) for name in names if (match := _INDEX.search(name))]
    last = max(numbers, default=0)
    return _without(names, (n for n in names if last and (m := _INDEX.search(n)) and int(m[1]) == last))


def _without(names: Mapping[str, Any], gone: Iterable[str]) -> dict[str, Any]:
    lost = set(gone)
    return {name: value for name, value in names.items() if name not in lost}


SABOTAGES: dict[str, Names] = {
    "renamed": renamed,
    "without-a-kind": without_a_kind,
    "without-a-layer": without_a_layer,
}
