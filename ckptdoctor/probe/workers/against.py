"""What a model holds, against the values in the files it was loaded from: some rows of every parameter.

A parameter is made of pieces, each a view of it and the stored tensor it should be: one, or the parts of a fused
weight in their order, or one per expert. Where nobody here knows the pieces, or the view has another layout than the
file, it is counted as not compared; that is no alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .pieces import Piece
from .stored import Entry, Stored
from .templates import template

ROWS = 8
"""Rows looked at of each piece, spread over all of it."""
ROUNDING = 1 / 64
"""A value that went through one rounding to bfloat16 differs by less than this share of the largest."""
LONE = {"model.norm.weight"}
OPTIONAL = ("g_idx", "weight_g_idx", "weight_shape", "qzeros", "input_scale", "bias")
"""Leaves that are there for some and not for others, or that nobody reads."""
REQUANTISED = 0.25
"""What four bits cost: share of the norm by which values differ that are held in another scheme than stored."""
TYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "BOOL": torch.bool,
}
NF4 = (-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0)
NF4_UPPER = (0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0)
FP4 = (0.0, 0.0052083335, 0.6666667, 1.0, 0.33333334, 0.5, 0.16666667, 0.25)
FOUR_BITS = {"nf4": NF4 + NF4_UPPER, "fp4": (*FP4, *(-value for value in FP4))}
"""What the codes stand for in bitsandbytes' kernels, which do not look at the table in the file."""
FLOAT_NAMES = ("BF16", "F16", "F32", "F64")
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class Compared:
    """What came of it, parameter by parameter."""

    def __init__(self, stored: Stored | None) -> None:
        self.stored = stored
        self.same: list[str] = []
        self.differ: list[str] = []
        self.unknown: list[str] = []
        self.absent: list[str] = []
        """Parameters that no file supplies, or not in full."""
        self.used: set[str] = set()
        """Stored tensors that some parameter is made of."""

    def add(self, name: str, pieces: Sequence[Piece]) -> None:
        """Compare one parameter; what is not stored, where its other parts are, cannot have been read."""
        if self.stored is None or not pieces:
            self.unknown.append(name)
            return
        if any(piece.name not in self.stored.entries for piece in pieces):
            self.absent.append(name)
            return
        self.used |= {piece.name for piece in pieces}
        answers = {matches(piece, self.stored) for piece in pieces}
        place = self.differ if False in answers else self.unknown if None in answers else self.same
        place.append(name)

    def without_source(self) -> None:
        """Tell what no file supplies though it is named as files name it: the same of other layers is there.

        A norm is made of ones and not of unwritten memory, so that no mark shows it.
        """
        known = {template(name) for name in (*self.same, *self.differ)}
        known |= LONE if any(name.startswith("model.layers.") for name in self.same) else set()
        lost = [
            name
            for name in self.unknown
            if template(name) in known and name.rpartition(".")[2] not in OPTIONAL and self._unstored(name)
        ]
        self.absent += lost
        self.unknown = [name for name in self.unknown if name not in set(lost)]

    def _unstored(self, name: str) -> bool:
        return self.stored is not None and name not in self.stored.entries


def matches(piece: Piece, stored: Stored) -> bool | None:
    """Whether a piece holds what is stored; None where that cannot be said."""
    entry = stored.entries[piece.name]
    state = stored.state(piece.name)
    shape = tuple(state.get("shape") or ()) if state else entry.shape
    view = piece.view
    if not piece.fits:
        return False
    if entry.dtype not in TYPES or view.is_meta:
        return None
    if tuple(view.shape) != shape or not view.numel():
        return _by_shape(view, entry, shape)
    return _by_rows(piece, entry, stored, state)


def _by_shape(view: torch.Tensor, entry: Entry, shape: tuple[int, ...]) -> bool | None:
    """Whether a plain matrix has the size it should have; another layout is no other size."""
    if tuple(view.shape) == shape:
        return True
    plain = view.is_floating_point() and entry.dtype in FLOAT_NAMES and view.ndim == len(shape) == 2
    return False if plain and tuple(view.shape) != shape[::-1] else None


def _by_rows(piece: Piece, entry: Entry, stored: Stored, state: dict[str, Any] | None) -> bool | None:
    """Whether some rows of a piece hold what is stored."""
    view = piece.view
    codes = not view.is_floating_point()
    if state is None and codes and TYPES[entry.dtype] != view.dtype:
        return None
    as_it_is = TYPES[entry.dtype] == view.dtype  # codes, and the bytes of eight-bit floats
    decoder = "" if codes or as_it_is else _decoder(piece.name, entry, stored, state)
    if decoder is None:
        return None
    rows = view.reshape(1, -1) if view.ndim < 2 else view.reshape(view.shape[0], -1)
    chosen = sorted({number * (len(rows) - 1) // max(ROWS - 1, 1) for number in range(ROWS)})
    try:
        expected = [_row(piece.name, number, rows.shape[1], stored, state, decoder) for number in chosen]
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError):
        return False  # what is stored stands for no numbers at all, and yet some are held
    return _equal(torch.stack(expected), rows[chosen].cpu(), codes=codes, alike=piece.alike)


def _decoder(name: str, entry: Entry, stored: Stored, state: dict[str, Any] | None) -> str | None:
    """How the numbers of a tensor are read: from four bits, from eight with scales, or as they are; None: unknown."""
    module = name.rpartition(".")[0]
    if state is not None:
        return "four"
    if entry.dtype in ("I8", "U8") and f"{module}.SCB" in stored.entries:
        return "eight"
    scales = stored.entries.get(f"{module}.weight_scale_inv")
    if entry.dtype == "F8_E4M3" and scales is not None:
        whole = len(scales.shape) == len(entry.shape) == 2
        fits = whole and not any(
            size % count for size, count in zip(entry.shape, scales.shape, strict=True) if count
        )
        return "blocks" if fits and all(scales.shape) else None
    return "" if entry.dtype in FLOAT_NAMES else None


def _row(
    name: str, number: int, width: int, stored: Stored, state: dict[str, Any] | None, decoder: str
) -> torch.Tensor:
    """Row `number` of a stored tensor, `width` numbers (or codes)."""
    if decoder == "four":
        assert state is not None
        return four_bit(name, number * width, width, stored, state)
    entry = stored.entries[name]
    kind = TYPES[entry.dtype]
    size = width * kind.itemsize
    row = tensor(stored.read(name, number * size, (number + 1) * size), kind)
    if decoder == "blocks":
        return row.float() * _block_scales(name, number, stored)
    if decoder == "eight":
        if kind != torch.int8:
            raise TypeError(entry.dtype)
        scale = tensor(stored.read(f"{name.rpartition('.')[0]}.SCB"), torch.float32)[number]
        return row.float() * scale / 127
    return row


def _block_scales(name: str, number: int, stored: Stored) -> torch.Tensor:
    """The scale of every number of row `number` of a weight in blocks, which are as large as the scales are few."""
    module = name.rpartition(".")[0]
    weight, scales = stored.entries[name], stored.entries[f"{module}.weight_scale_inv"]
    height, width = (size // count for size, count in zip(weight.shape, scales.shape, strict=True))
    kind = TYPES[scales.dtype]
    size = scales.shape[1] * kind.itemsize
    place = number // height * size
    row = tensor(stored.read(f"{module}.weight_scale_inv", place, place + size), kind).float()
    return row.repeat_interleave(width)


def four_bit(name: str, first: int, count: int, stored: Stored, state: Mapping[str, Any]) -> torch.Tensor:
    """`count` numbers of a bitsandbytes 4-bit weight from number `first` on.

    As QuantState.from_dict reads it:
    https://github.com/bitsandbytes-foundation/bitsandbytes/blob/0.45.5/bitsandbytes/functional.py
    """
    start = first - first % 2
    octets = tensor(stored.read(name, start // 2, (first + count + 1) // 2), torch.uint8)
    codes = torch.stack([octets >> 4, octets & 15], 1).flatten()[first - start : first - start + count].long()
    block = int(state["blocksize"])
    numbers = torch.arange(first, first + count) // block
    low, high = int(numbers[0]), int(numbers[-1]) + 1
    nested = "nested_blocksize" in state
    scales = _companion(name, "absmax", low, high, stored, (torch.uint8,) if nested else FLOATS)
    if nested:
        table = _companion(name, "nested_quant_map", 0, 256, stored)
        size = int(state["nested_blocksize"])
        outer = _companion(name, "nested_absmax", low // size, (high - 1) // size + 1, stored)
        places = torch.arange(low, high) // size - low // size
        scales = table[scales.long()] * outer[places] + float(state["nested_offset"])
    return torch.tensor(_table(name, stored, state))[codes] * scales[numbers - low]


def _table(name: str, stored: Stored, state: Mapping[str, Any]) -> tuple[float, ...]:
    """What the codes stand for: the table in the file where it is one that kernels have, else that of the type."""
    found = tensor(stored.read(f"{name}.quant_map"), torch.float32).tolist()
    for table in FOUR_BITS.values():
        if len(found) == len(table) and all(abs(a - b) < 1e-5 for a, b in zip(found, table, strict=True)):
            return table
    return FOUR_BITS[str(state["quant_type"])]


def _companion(
    name: str, role: str, first: int, last: int, stored: Stored, kinds: tuple[torch.dtype, ...] = FLOATS
) -> torch.Tensor:
    """Numbers `first` to `last` of a companion; KeyError where it is not stored, TypeError where as something else."""
    entry = stored.entries[f"{name}.{role}"]
    kind = TYPES[entry.dtype]
    if kind not in kinds:
        raise TypeError(role)
    data = stored.read(f"{name}.{role}", first * kind.itemsize, last * kind.itemsize)
    found = tensor(data, kind)
    if len(found) != last - first:
        raise IndexError(role)
    return found if kind == torch.uint8 else found.float()


def tensor(data: bytes, kind: torch.dtype) -> torch.Tensor:
    """Little-endian bytes as a flat tensor."""
    if not data:
        return torch.empty(0, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(kind)


def _equal(expected: torch.Tensor, found: torch.Tensor, *, codes: bool, alike: bool) -> bool:
    """Whether sampled rows agree; not-a-number is held where it is stored, and only there."""
    if codes:
        return bool((expected == found).all())
    a, b = found.float(), expected.float()
    finite = b.isfinite()
    if not bool((a.isfinite() == finite).all()):
        return False
    a, b = a[finite], b[finite]
    if not b.numel():
        return True
    if not alike:
        return bool((a - b).norm() <= REQUANTISED * b.norm())
    return bool((a - b).abs().max() <= b.abs().max() * ROUNDING)
