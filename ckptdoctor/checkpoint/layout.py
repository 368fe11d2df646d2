"""Whether the tensors of a header tile its data section: sizes, holes, overlaps and the end of the file.

The writer lays tensors out in header order, so one pass with one comparison each settles a sound file. Only when
that fails are the spans sorted and looked at one by one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..model import Facts, Location
from .decode import Decoded
from .dtypes import BITS
from .nouns import Defect, Shard, TensorEntry

LIMIT = 2**63
"""Sizes and offsets from here on are nonsense: no file system holds them."""
MAX_RANK = 64
"""Dimensions a tensor may have (numpy's limit too); more would only serve to make products expensive."""
MAX_PER_CODE = 100

_UNKNOWN, _NEGATIVE, _FRACTION = "unknown", "negative", "fraction"
_SHOWN_DIMS = 32


class _Span(NamedTuple):
    begin: int
    end: int
    name: str


def check_layout(shard: Shard, decoded: Decoded) -> list[Defect]:
    """Return what is wrong with dtypes, shapes and offsets of ``shard``, one defect per cause."""
    if not decoded.tensors and not decoded.malformed:
        return [Defect("zero-tensors", Location(shard.name)), *_file_end(shard, 0)]
    cursor, ordered, odd = 0, True, []
    sizes: dict[tuple[str, tuple[int, ...]], int | str] = {}
    for name, tensor in decoded.tensors.items():
        key = (tensor.dtype, tensor.shape)
        size = sizes.get(key)
        if size is None:
            size = sizes[key] = _size(*key)
        begin, end = tensor.data_offsets
        if end - begin != size:
            odd.append(name)
        ordered = ordered and begin == cursor
        cursor = end
    if ordered and not odd and not decoded.malformed and not decoded.repeated:
        return _file_end(shard, cursor)
    return _Inspection(shard, decoded, odd).defects()


def _size(dtype: str, shape: tuple[int, ...]) -> int | str:
    """Return the bytes that such a tensor takes, or in a word why there is no such number."""
    if len(shape) > MAX_RANK:
        return _NEGATIVE
    count = 1
    for dim in shape:
        count *= dim
        if not 0 <= dim < LIMIT or count >= LIMIT:
            return _NEGATIVE
    bits = BITS.get(dtype)
    if bits is None:
        return _UNKNOWN
    return count * bits // 8 if count * bits % 8 == 0 else _FRACTION


def _file_end(shard: Shard, data_end: int) -> list[Defect]:
    expected = 8 + shard.header_len + data_end
    if expected == shard.size:
        return []
    code = "truncated" if expected > shard.size else "trailing"
    return [Defect(code, Location(shard.name), {"expected": expected, "got": shard.size})]


class _Inspection:
    """The slow look at a header that is not plainly sound."""

    def __init__(self, shard: Shard, decoded: Decoded, odd: Sequence[str]) -> None:
        self.shard = shard
        self.decoded = decoded
        self.odd = odd
        self.found: dict[str, list[Defect]] = {}
        self.unplaced: set[str] = set()
        """Tensors whose offsets are of no use: the bytes they should cover would look like holes."""
        self.suspects: set[str] = set()
        """Tensors whose span has the wrong length: what they leave open or cover twice follows from that."""
        self.hidden = _hidden(decoded)
        self.reach = list(accumulate((end for _, end in self.hidden), max))
        """Farthest end among the hidden spans up to each."""

    def defects(self) -> list[Defect]:
        for name, (field, why) in self.decoded.malformed.items():
            self._add("tensor-malformed", name, {"field": field, "why": why})
        unknown: set[str] = set()
        odd = set(self.odd)
        for name, tensor in self.decoded.tensors.items():
            begin, end = tensor.data_offsets
            if name in odd or begin < 0 or end >= LIMIT:
                self._judge(name, tensor, unknown)
        data_end, last = self._walk()
        excused = bool(self.unplaced or self.decoded.malformed or self._shadowed(data_end, LIMIT))
        if last not in self.suspects:
            self.found["end"] = [
                defect
                for defect in _file_end(self.shard, data_end)
                if defect.code == "truncated" or not excused
            ]
        return [defect for defects in self.found.values() for defect in capped(defects)]

    def _add(self, code: str, tensor: str, facts: Facts) -> None:
        self.found.setdefault(code, []).append(Defect(code, Location(self.shard.name, tensor=tensor), facts))

    def _judge(self, name: str, tensor: TensorEntry, unknown: set[str]) -> None:
        """File what is wrong with one tensor of which size and span do not agree."""
        begin, end = tensor.data_offsets
        size = _size(tensor.dtype, tensor.shape)
        if begin < 0 or not 0 <= end < LIMIT:
            self.unplaced.add(name)
            self._add("negative-or-huge", name, {"field": "data_offsets"})
        elif end < begin:
            self.unplaced.add(name)
            self._add(
                "tensor-malformed", name, {"field": "data_offsets", "why": "the end is before the begin"}
            )
        elif size == _NEGATIVE:
            self._add("negative-or-huge", name, {"field": "shape"})
        elif size == _UNKNOWN:
            if tensor.dtype not in unknown:
                unknown.add(tensor.dtype)
                self._add("unknown-dtype", name, {"dtype": tensor.dtype})
        else:
            self.suspects.add(name)
            self._add("size-mismatch", name, _mismatch(tensor, end - begin))

    def _walk(self) -> tuple[int, str]:
        """File holes and overlaps; return the end of the data and the tensor that ends there."""
        cursor, last = 0, ""
        clean = not self.unplaced and not self.decoded.malformed
        for span in self._spans():
            innocent = last not in self.suspects and span.name not in self.suspects
            facts: Facts = {"first": last, "second": span.name}
            if span.begin > cursor and innocent and clean and not self._shadowed(cursor, span.begin):
                self._add("hole", span.name, {"begin": cursor, "end": span.begin, **facts})
            elif span.begin < cursor and innocent:
                shared = min(span.end, cursor) - span.begin
                begin_end = {"begin": span.begin, "end": span.begin + shared}
                self._add("overlap", span.name, {**facts, "bytes": shared, **begin_end})
            if span.end >= cursor:
                cursor, last = span.end, span.name
        return cursor, last

    def _spans(self) -> list[_Span]:
        tensors = self.decoded.tensors.items()
        return sorted(_Span(*t.data_offsets, name) for name, t in tensors if name not in self.unplaced)

    def _shadowed(self, begin: int, end: int) -> bool:
        """Whether an entry that a repeated name hides lays claim to bytes in this range."""
        before = bisect_left(self.hidden, (end, 0))
        return before > 0 and self.reach[before - 1] > begin


def _hidden(decoded: Decoded) -> list[tuple[int, int]]:
    """Return the spans of entries that repeated names hide, sorted."""
    spans: Iterator[tuple[int, int] | None] = (
        getattr(entry, "data_offsets", None) for _, entry in decoded.repeated
    )
    return sorted(span for span in spans if span)


def _mismatch(tensor: TensorEntry, got: int) -> Facts:
    count = 1
    for dim in tensor.shape:
        count *= dim
    bits = count * BITS[tensor.dtype]
    expected = bits // 8 if bits % 8 == 0 else bits / 8
    return {"dtype": tensor.dtype, "shape": tensor.shape[:_SHOWN_DIMS], "expected": expected, "got": got}


def capped(defects: list[Defect]) -> list[Defect]:
    """Return the first 100 defects of one code; ``more`` of the last says how many others it stands for."""
    if len(defects) <= MAX_PER_CODE:
        return defects
    *kept, last = defects[:MAX_PER_CODE]
    facts: Facts = {**last.facts, "more": len(defects) - MAX_PER_CODE}
    return [*kept, last._replace(facts=facts)]
