"""Damage to a checkpoint: structure-aware where its files can be parsed, raw bytes where they cannot.

It changes header JSON (types, numbers, names, nesting), offsets, index entries and config values, takes files of
another checkpoint, and leaves of some only what a clone without weights knows of them.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping, Sequence

from ckptdoctor.sources.base import Stat

from .bases import Folder

NASTY: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, float("inf"), float("nan"), "", "x" * 5000,
    "\x1b[31m", "../../etc/passwd", "/etc/passwd", "a\\b", "\u202e", "\ud800", "##[error]", "::error::x", [], [[]], {},
    {"a": 1}, [1, 2, 3], [-1], [None], "BF16", "(a+)+$", "re:.*", "*" * 40, ".", "..", "model.layers.0",
)  # fmt: skip
STATES = ("pointer", "absent", "link-out", "not-a-file", "unreadable", "foreign")
DEEP = "deep nesting goes here"


def damaged(folder: Folder, others: Sequence[Folder], rng: random.Random) -> Folder:
    """Return a checkpoint with one to four things damaged, now and then one file of another in it."""
    files, stats = dict(folder.files), dict(folder.stats)
    if rng.random() < 0.1:
        other = others[int(rng.random() * len(others))]
        name = rng.choice(list(other.files) or ["config.json"])
        files[name] = other.files.get(name, b"")
        stats.pop(name, None)
    if rng.random() < 0.06:
        name = rng.choice([*files, ".ckptdoctor", "model-00002-of-00002.safetensors"])
        size = len(files.pop(name, b"")) if rng.random() < 0.8 else rng.choice([0, 1, 2**40])
        stats[name] = Stat(size, rng.choice(STATES))  # type: ignore[arg-type]
    return Folder(mutate(files, rng), stats, folder.label)


def mutate(files: Mapping[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Return a copy of the files of a checkpoint with one to four things damaged."""
    files = dict(files)
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(list(files) or ["config.json"])
        data = files.get(name, b"{}")
        kind = rng.random()
        if kind < 0.08:
            files[name] = _bytes(data, rng)
        elif kind < 0.12:
            files.pop(name, None)
        elif kind < 0.13:
            files[rng.choice(["a/", "consolidated.", "0"]) + name] = files.pop(name, b"")
        elif name.endswith(".safetensors"):
            files[name] = _header(data, rng)
        else:
            files[name] = _document(data, rng)
    return files


def _bytes(data: bytes, rng: random.Random) -> bytes:
    # as often where the header is as anywhere: most of a shard is values, which nobody reads
    cut = rng.randrange(min(len(data), rng.choice([2000, len(data)])) + 1) if data else 0
    choice = rng.randrange(4)
    if choice == 0:
        return data[:cut]
    if choice == 1:
        return data + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64)))
    if choice == 2:
        return data[:cut] + bytes([rng.randrange(256)]) + data[cut + 1 :]
    return struct.pack("<Q", rng.choice([0, 1, 2**20, 2**40, 2**63, len(data) * 2])) + data[8:]


def _header(data: bytes, rng: random.Random) -> bytes:
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
    except (struct.error, ValueError, RecursionError):
        return _bytes(data, rng)
    body = data[8 + length :]
    text = _dumps(_value(header, rng))
    if rng.random() < 0.1:
        text = text.replace(b'"shape"', rng.choice([b'"data_offsets"', b'"dtype"', b'"shape" ']), 1)
    return struct.pack("<Q", len(text)) + text + body


def _document(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(data, rng)
    return _dumps(_value(value, rng))


def _dumps(value: object) -> bytes:
    """Serialise, with ``DEEP`` spelled out (json.dumps would run out of stack on it)."""
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000).encode()


def _value(value: object, rng: random.Random, depth: int = 0) -> object:
    """Change one place somewhere in a JSON value."""
    if depth > 6 or rng.random() < 0.12 or not isinstance(value, dict | list) or not value:
        if rng.random() < 0.02:
            return DEEP if depth else value
        return rng.choice(NASTY) if depth else value
    if isinstance(value, list):
        place = rng.randrange(len(value))
        return [*value[:place], _value(value[place], rng, depth + 1), *value[place + 1 :]]
    key = rng.choice(list(value))
    changed = dict(value)
    choice = rng.random()
    if choice < 0.1:
        del changed[key]
    elif choice < 0.2:
        changed[str(rng.choice(NASTY))[:200]] = changed.pop(key)
    elif choice < 0.25:
        changed[f"{key}.0.{rng.randrange(10**6)}"] = changed[key]
    else:
        changed[key] = _value(value[key], rng, depth + 1)
    return changed
