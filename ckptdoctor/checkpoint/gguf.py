"""GGUF files beside the weights: is the header one, and does the file hold the tensors that it lists.

Format: https://github.com/ggml-org/ggml/blob/v0.9.4/docs/gguf.md. Nothing is kept of a file but its defects.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod

from ..model import Location
from ..sources.base import Span
from . import sniff
from .nouns import Checkpoint, Defect

_FIRST = 1 << 16
_MOST = 16 << 20
"""Bytes of one header that are read; a vocabulary of 260,000 tokens takes some ten million."""
_BUDGET = 64 << 20
_FILES = 64
_ALIGNMENT = b"general.alignment"
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MAX_DIMS = 4
_BLOCKS = {
    kind: (values, size)
    for kind, values, size in (
        *((0, 1, 4), (1, 1, 2), (24, 1, 1), (25, 1, 2), (26, 1, 4), (27, 1, 8), (28, 1, 8), (30, 1, 2)),
        *((2, 32, 18), (3, 32, 20), (6, 32, 22), (7, 32, 24), (8, 32, 34), (9, 32, 40), (20, 32, 18)),
        *((10, 256, 84), (11, 256, 110), (12, 256, 144), (13, 256, 176), (14, 256, 210), (15, 256, 292)),
        *((16, 256, 66), (17, 256, 74), (18, 256, 98), (19, 256, 50), (21, 256, 110), (22, 256, 82)),
        *((23, 256, 136), (29, 256, 56), (34, 256, 54), (35, 256, 66), (39, 32, 17), (40, 64, 36)),
    )
}
"""ggml type → values and bytes of a block (``GGML_QUANT_SIZES`` of gguf-py 0.19.0)."""


class _Short(Exception):
    """The header goes on behind the bytes at hand."""


class _Wrong(Exception):
    """The header cannot be one; says where it stops making sense."""


def defects(ckpt: Checkpoint) -> Iterator[Defect]:
    """Yield what is wrong with the GGUF files of ``ckpt``."""
    sizes = {
        name: known.size
        for name, known in ckpt.entries.items()
        if name.endswith(".gguf") and known.state == "here"
    }
    names = [*sizes][:_FILES]
    budget = _BUDGET
    for name in names:
        size = sizes[name]
        for length in (min(size, _FIRST), min(size, _MOST)):
            if length > budget:
                break
            [data] = ckpt.source.read_many([Span(name, 0, length)])
            if not isinstance(data, bytes):
                break
            budget -= len(data)
            ckpt.bytes_read = ckpt.bytes_read._replace(headers=ckpt.bytes_read.headers + len(data))
            try:
                yield from _judged(data, size, name)
                break
            except _Short:
                if length == size:
                    yield Defect(
                        "gguf-truncated", Location(name), {"got": size, "expected": f"more than {size}"}
                    )
                    break


def _judged(data: bytes, size: int, name: str) -> Iterator[Defect]:
    if not data.startswith(b"GGUF"):
        yield Defect("gguf-magic", Location(name), {"kind": sniff.kind(data[:256]) or "unknown"})
        return
    cursor = _Cursor(data, size)
    version = cursor.number("<I")
    if version & 0xFFFF == 0:
        return  # written for a machine of the other byte order
    if version not in (2, 3):
        yield Defect("gguf-version", Location(name), {"version": version})
        return
    try:
        expected = _end(cursor)
    except _Wrong as wrong:
        yield Defect("gguf-malformed", Location(name), {"why": str(wrong)})
        return
    if expected > size:
        yield Defect("gguf-truncated", Location(name), {"got": size, "expected": str(expected)})


class _Cursor:
    """A place in the header. Reading past the bytes at hand raises ``_Short``, past the end of the file too."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data = data
        self.size = size
        self.at = 4

    def number(self, form: str) -> int:
        width = struct.calcsize(form)
        if self.at + width > len(self.data):
            raise _Short
        [value] = struct.unpack_from(form, self.data, self.at)
        self.at += width
        return int(value)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes, which may lie beyond the bytes at hand."""
        self.at += count
        if self.at > len(self.data):
            raise _Short

    def text(self, what: str) -> bytes:
        length = self.number("<Q")
        if length > self.size:
            raise _Wrong(f"{what} is {length} bytes long")
        start = self.at
        self.skip(length)
        return self.data[start : self.at]


def _end(cursor: _Cursor) -> int:
    """Return the number of bytes that the file must have at least."""
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")
    if tensors * 24 + pairs * 13 > cursor.size:
        raise _Wrong(f"it announces {tensors} tensors and {pairs} keys, more than fit into the file")
    alignment = 32
    for _ in range(pairs):
        key = cursor.text("a key")
        kind = cursor.number("<I")
        if key == _ALIGNMENT and kind == 4:
            alignment = cursor.number("<I") or alignment
        else:
            _pass(cursor, kind)
    end = 0
    for _ in range(tensors):
        end = max(end, _tensor(cursor))
    return (-(-cursor.at // alignment) * alignment if tensors else cursor.at) + end


def _pass(cursor: _Cursor, kind: int) -> None:
    """Pass over one value."""
    if kind in _SCALARS:
        cursor.skip(_SCALARS[kind])
    elif kind == _STRING:
        cursor.text("a value")
    elif kind == _ARRAY:
        inner, count = cursor.number("<I"), cursor.number("<Q")
        if inner in _SCALARS:
            cursor.skip(_SCALARS[inner] * count)
        elif inner == _STRING:
            for _ in range(count):  # ends with the bytes at hand, of which each takes eight
                cursor.text("a value")
        else:
            raise _Wrong(f"an array is of type {inner}")
    else:
        raise _Wrong(f"a value is of type {kind}")


def _tensor(cursor: _Cursor) -> int:
    """Return where the data of the next tensor ends, 0 for a type that is not known here."""
    cursor.text("a name")
    count = cursor.number("<I")
    if count > _MAX_DIMS:
        raise _Wrong(f"a tensor has {count} dimensions")
    numbers = prod(cursor.number("<Q") for _ in range(count))
    values, size = _BLOCKS.get(cursor.number("<I"), (1, 0))
    start = cursor.number("<Q")
    return start + numbers // values * size if size else 0
