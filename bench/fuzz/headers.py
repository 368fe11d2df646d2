"""Damaged safetensors headers through the parser alone, thousands a second."""

from __future__ import annotations

import random
import re
import struct
from itertools import islice

from ckptdoctor.checkpoint.header import parse

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+|[\[\]{}:,]|\s+')
PIECES = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b" ",
        b"\\",
        b'"',
        b"null",
        b"true",
        b"1.5",
        b"-1",
        b"0",
        b"1",
        b"2",
    ),
    *(b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"1e999", b"1" * 5000, b"NaN"),
    *(
        b'""',
        b'"a"',
        b'"\\u0061"',
        b'"\\ud800"',
        b'"\xff"',
        b'"BF16"',
        b'"F4"',
        b'"X"',
        b'"dtype"',
        b'"shape"',
    ),
    *(b'"data_offsets"', b'"__metadata__"', b'"format"', b'"pt"', b"[]", b"{}", b"[" * 2000, b'{"a":' * 2000),
    *(b'"' + b"a." * 600 + b'"', b"\x00", b"\xef\xbb\xbf"),
)
"""What takes the place of a token, or is put before one."""
TENSORS = 6
"""Tensors that are kept of a sound header: enough for every relation between neighbours."""
Tokens = tuple[bytes, ...]


def bases(folders: list[dict[str, bytes]]) -> list[Tokens]:
    """Return the first tensors of every sound header, cut into tokens."""
    found = []
    for files in folders:
        for name, data in files.items():
            if name.endswith(".safetensors"):
                (length,) = struct.unpack("<Q", data[:8])
                found.append(_shortened(TOKEN.findall(data[8 : 8 + length])))
    return found


def _shortened(tokens: list[bytes]) -> Tokens:
    closings = (place for place, token in enumerate(tokens) if token == b"}")
    last = next(islice(closings, TENSORS, None), None)
    return tuple(tokens) if last is None else (*tokens[: last + 1], b"}")


def mutate(tokens: Tokens, rng: random.Random) -> bytes:
    """Return the first bytes of a file whose header differs from ``tokens`` in one to four places."""
    changed = list(tokens)
    for _ in range(1 + (rng.random() < 0.5) + 2 * (rng.random() < 0.2)):
        place, choice = int(rng.random() * len(changed)), rng.random()
        if choice < 0.45:
            changed[place] = PIECES[int(rng.random() * len(PIECES))]
        elif choice < 0.6:
            changed[place] = changed[int(rng.random() * len(changed))]
        elif choice < 0.75:
            changed.insert(place, PIECES[int(rng.random() * len(PIECES))])
        elif choice < 0.9 and len(changed) > 1:
            del changed[place]
        else:
            changed[place:place] = changed[place : place + 20]
    text = b"".join(changed)
    return struct.pack("<Q", len(text) - (rng.random() < 0.02)) + text


def complaint(raw: bytes, *, thorough: bool) -> str:
    """Return what went wrong with a header, "" when nothing did; ``thorough`` compares both decoders."""
    try:
        shard, defects = parse(raw, len(raw) + 64, "m")
        if thorough:
            other, others = parse(raw, len(raw) + 64, "m", fast=True)
            if defects != others or _plain(shard.tensors) != _plain(other.tensors):
                return f"two decoders, two answers: {defects[:3]} and {others[:3]}"
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    return "" if shard.readable or defects else "neither read nor refused"


def _plain(tensors: object) -> list[tuple[object, ...]]:
    assert isinstance(tensors, dict)
    return [(name, t.dtype, t.shape, t.data_offsets) for name, t in tensors.items()]
