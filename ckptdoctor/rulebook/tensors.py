"""A small safetensors writer for recipes: exact bytes where they are stated, zeros that take no memory elsewhere.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_PACK = {
    "BOOL": "?",
    "I8": "b",
    "I16": "h",
    "U16": "H",
    "F16": "e",
    "I32": "i",
    "U32": "I",
    "F32": "f",
    "I64": "q",
    "U64": "Q",
    "F64": "d",
}


class Sparse:
    """Bytes of which only some are stored; the rest reads as zeros."""

    def __init__(self, size: int, chunks: Sequence[tuple[int, bytes]]) -> None:
        if size > sys.maxsize:
            raise ValueError(f"a file of {size} bytes is larger than any can be")
        self._size = size
        self._chunks = chunks

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        begin, end, _ = where.indices(self._size)
        data = bytearray(max(0, end - begin))
        for start, chunk in self._chunks:
            low, high = max(begin, start), min(end, start + len(chunk))
            if low < high:
                data[low - begin : high - begin] = chunk[low - start : high - start]
        return bytes(data)


def shard(entries: Mapping[str, Any], options: Mapping[str, Any]) -> Sparse:
    """Return a safetensors file holding ``entries`` in order; ``options`` are the keys of a recipe's shard."""
    chunks: list[tuple[int, bytes]] = []
    header: dict[str, Any] = {}
    metadata = options.get("metadata", {"format": "pt"})
    if metadata is not None:
        header["__metadata__"] = metadata
    end = 0
    for name, entry in entries.items():
        dtype, shape = described(entry)
        begin, end = end, end + size(entry)
        offsets = entry["data_offsets"] if _floating(entry) else [begin, end]
        if (data := _data(entry)) is not None:
            chunks.append((begin, data))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if "header" in options:
        text, end = options["header"].encode(), options.get("data", 0)
    front = options.get("length", len(text)).to_bytes(8, "little") + text
    whole = max(0, len(front) + end + options.get("extra", 0))
    if whole > sys.maxsize:
        raise ValueError(f"a file of {whole} bytes: none is that large")
    return Sparse(whole, [(0, front[:whole]), *((len(front) + at, data) for at, data in chunks)])


def size(entry: Any) -> int:
    """Return the bytes a tensor adds to the data (whole bytes, as every tensor of the format does)."""
    if _floating(entry):
        return 0
    dtype, shape = described(entry)
    if isinstance(entry, Mapping) and (data := _data(entry)) is not None:
        return len(data)
    if dtype not in BITS:
        raise ValueError(f"no known width for dtype {dtype!r}: give its bytes as hex, or data_offsets")
    return max(0, math.prod(shape)) * BITS[dtype] // 8


def described(entry: Any) -> tuple[str, list[int]]:
    """Return dtype and shape of a tensor as the header states them."""
    if not isinstance(entry, Mapping):
        return entry[0], entry[1]
    if "shape" in entry:
        return entry["dtype"], entry["shape"]
    data = _data(entry)
    return entry["dtype"], [] if data is None else [len(data) * 8 // BITS[entry["dtype"]]]


def _floating(entry: Any) -> bool:
    """Whether a tensor states its own offsets, so adds no bytes."""
    return isinstance(entry, Mapping) and "data_offsets" in entry


def _data(entry: Any) -> bytes | None:
    """Return the stated bytes of a tensor, None for zeros."""
    if not isinstance(entry, Mapping) or _floating(entry):
        return None
    if "json" in entry:
        return json.dumps(entry["json"]).encode()
    if "text" in entry:
        return str(entry["text"]).encode()
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    if "values" in entry:
        return b"".join(_number(entry["dtype"], value) for value in entry["values"])
    if entry.get("fill"):
        return _number(entry["dtype"], entry["fill"]) * math.prod(entry.get("shape", ()))
    return None


def _number(dtype: str, value: float) -> bytes:
    """Return one element; the 8-bit floats take their code as an integer."""
    if dtype == "BF16":
        return struct.pack("<f", value)[2:]
    if dtype in _PACK:
        return struct.pack("<" + _PACK[dtype], value if dtype[0] in "FB" else int(value))
    if BITS.get(dtype) == 8:
        return struct.pack("<B", int(value))
    raise ValueError(f"cannot write numbers of dtype {dtype!r}: give its bytes as hex")
