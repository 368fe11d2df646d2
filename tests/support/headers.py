"""Bytes of small safetensors files, sound and broken, built by hand for tests."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I8": 1, "I32": 4, "I64": 8, "F8_E4M3": 1}


def framed(header: bytes, data: int = 0) -> bytes:
    """Put a length before ``header`` and ``data`` zero bytes after it."""
    return struct.pack("<Q", len(header)) + header + bytes(data)


def entry(dtype: str, shape: Sequence[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def shard(
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    content: Mapping[str, bytes] | None = None,
    metadata: object = {"format": "pt"},
) -> bytes:
    """Return a sound file; ``content`` holds the bytes of those tensors that are not zero."""
    header: dict[str, Any] = {"__metadata__": metadata}
    parts, end = [], 0
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype] * prod(shape)
        header[name] = entry(dtype, shape, end, end + size)
        parts.append((content or {}).get(name, bytes(size)))
        end += len(parts[-1])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(parts)
