"""Damaged checkpoints through the whole check and its renderers, in memory.

A structure-aware mutator over the sound fixtures: it changes header JSON (types, numbers, names, nesting), offsets,
index entries and config values, and now and then raw bytes. What breaks is written to
``fixtures/found`` (not committed) as a recipe.
"""

from __future__ import annotations

import json
import random
import struct
import time
from pathlib import Path

from ckptdoctor.checkpoint import load
from ckptdoctor.engine import check_source
from ckptdoctor.loaders.base import default_files
from ckptdoctor.model import Report
from ckptdoctor.render import Page, render
from ckptdoctor.sources.memory import MemorySource

ROOT = Path(__file__).parents[2]
HANG = 2.0
"""CPU seconds after which an input counts as a hang."""
FORMS = ("json", "text", "sarif", "github", "markdown")
NASTY: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, float("inf"), "", "x" * 5000, "\x1b[31m",
    "../../etc/passwd", "/etc/passwd", "a\\b", "\u202e", [], [[]], {}, {"a": 1}, [1, 2, 3], [-1], [None], "BF16",
    "(a+)+$", "re:.*", "*" * 40, ".", "..", "model.layers.0",
)  # fmt: skip


DEEP = "deep nesting goes here"


def _dumps(value: object) -> bytes:
    """Serialise, with ``DEEP`` spelled out (json.dumps would run out of stack on it)."""
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000).encode()


def sound() -> list[dict[str, bytes]]:
    """Return the sound fixtures as file name → bytes (weights cut to the header: their values are never read)."""
    folders = [path for path in sorted((ROOT / "fixtures/sound").iterdir()) if path.is_dir()]
    return [
        {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        for folder in folders
    ]


def mutate(files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Return a copy of a checkpoint with one to four things damaged."""
    files = dict(files)
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(list(files) or ["config.json"])
        data = files.get(name, b"{}")
        kind = rng.random()
        if kind < 0.08:
            files[name] = _bytes(data, rng)
        elif kind < 0.12:
            files.pop(name, None)
        elif name.endswith(".safetensors"):
            files[name] = _header(data, rng)
        else:
            files[name] = _document(data, rng)
    return files


def _bytes(data: bytes, rng: random.Random) -> bytes:
    cut = rng.randrange(len(data) + 1) if data else 0
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
    header = _value(header, rng)
    text = _dumps(header)
    if rng.random() < 0.1:
        text = text.replace(b'"shape"', rng.choice([b'"data_offsets"', b'"dtype"', b'"shape" ']), 1)
    return struct.pack("<Q", len(text)) + text + body


def _document(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(data, rng)
    return _dumps(_value(value, rng))


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


def complaint(files: dict[str, bytes], targets: tuple[object, ...], *, whole: bool = True) -> str:
    """Return what went wrong with one input, "" when nothing did; not ``whole`` parses it and builds its view only."""
    begun = time.process_time()
    source = MemorySource("model", files)
    try:
        if whole:
            report: Report = check_source(source, targets)  # type: ignore[arg-type]
            if report.crashes:
                return f"crashed in {report.crashes[0].rule}: {report.crashes[0].error}"
            for form in FORMS:
                render(form, [report], Page())
        else:
            ckpt = load(source)
            ckpt.view(default_files(ckpt))
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    spent = time.process_time() - begun
    return f"took {spent:.1f} s" if spent > HANG else ""


def keep(files: dict[str, bytes], why: str, number: int, seed: int) -> None:
    """Write a failing input down as a recipe."""
    folder = ROOT / "fixtures/found"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"why": why[:300], "files": {name: {"hex": data.hex()} for name, data in files.items()}}
    (folder / f"fuzz-{seed}-{number}.json").write_text(json.dumps(recipe, indent=1))
