"""A raw safetensors reader and writer: names, dtypes, shapes and bytes, nothing decoded.

It runs inside every loader's environment and is independent of `ckptdoctor`, so that a bug in one
cannot hide a bug in the other. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

# In the order of the reference implementation's enum, which its writer sorts by, last first.
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
BITS |= {"F64": 64, "I64": 64, "U64": 64}
RANK = {dtype: rank for rank, dtype in enumerate(BITS)}


class Tensor(NamedTuple):
    """One stored tensor: its safetensors dtype name, its shape and its little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Shard(NamedTuple):
    """The whole content of one safetensors file; `metadata` is None when the header has none."""

    metadata: dict[str, str] | None
    tensors: dict[str, Tensor]


def nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that a tensor of this dtype and shape occupies."""
    return math.prod(shape) * BITS[dtype] // 8


def read_shard(path: Path) -> Shard:
    """Read one well-formed safetensors file; raises ValueError or KeyError on any other."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    body = memoryview(raw)[8 + length :]
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), bytes(body[start:end]))
    return Shard(metadata, tensors)


def write_shard(path: Path, shard: Shard) -> None:
    """Write one safetensors file: widest dtype first, then by name, as the reference writer does."""
    header: dict[str, object] = {} if shard.metadata is None else {"__metadata__": shard.metadata}
    order = sorted(shard.tensors, key=lambda name: (-RANK[shard.tensors[name].dtype], name))
    offset = 0
    for name in order:
        tensor = shard.tensors[name]
        end = offset + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(shard.tensors[n].data for n in order))
