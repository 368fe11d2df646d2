"""Checkpoint → plan, and the plan as an overlay, so that it is checked before a byte of it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint
from ..sources.base import Source
from ..sources.overlay import Layer, Overlay
from .choose import chosen
from .layout import index, shards
from .nouns import Chosen, OutShard, Plan, ResaveError, ResaveUsage, Tensor

_WEIGHTS = (".safetensors", ".safetensors.index.json")
_PICKLES = "pytorch_model*.bin*"
"""What stands for the same weights as the safetensors."""
_UNUSED = ".unused"


class Wanted(NamedTuple):
    """What is asked for."""

    shard_size: int | None = None
    """Bytes of a file at most, 0 for one file, None for the layout that is there."""
    drop: tuple[str, ...] = ()
    """Patterns of tensor names."""
    drop_stray: bool = False
    rename: tuple[tuple[str, str], ...] = ()
    """Prefixes of names and what takes their place."""


def plan(
    ckpt: Checkpoint,
    wanted: Wanted,
    times: Mapping[str, int],
    pickled: tuple[list[Chosen], list[str]] | None = None,
) -> Plan:
    """Return what to write for ``ckpt``; ``times`` are the times of change of its files, in ns.

    ``pickled`` are tensors that were found in pickles, and what is said of them. Raises ResaveError.
    """
    if pickled and (wanted.drop or wanted.drop_stray):
        raise ResaveUsage("--drop and --drop-stray are for safetensors: convert first, then drop")
    kept, notes = pickled or chosen(ckpt, wanted.drop, stray=wanted.drop_stray)
    kept = _renamed(kept, wanted.rename, notes)
    try:
        found = shards(kept, wanted.shard_size, _stem(kept))
    except UnicodeEncodeError as error:
        raise ResaveError(f"a tensor's name is no text: {error.reason}") from error
    carried, left = _carried(ckpt, {shard.name for shard in found}, {item.file for item in kept})
    total = sum(tensor.size for item in kept for tensor in item.tensors)
    texts = ((f"{_stem(kept)}.safetensors.index.json", index(found, total)),) if len(found) > 1 else ()
    used = sorted({piece.file for shard in found for piece in shard.pieces} | set(carried))
    notes += _layout_notes(ckpt, kept, found, total)
    return Plan(
        found,
        tuple((name, ckpt.entries[name].size) for name in carried),
        texts,
        tuple(left),
        tuple(notes),
        {name: (ckpt.entries[name].size, times.get(name, 0)) for name in used},
    )


def overlay(source: Source, made: Plan, label: str) -> Overlay:
    """Return what ``made`` would write, readable without writing it."""
    layers: dict[str, Layer | None] = dict.fromkeys(source.entries())
    layers |= {name: Layer(b"", [(name, 0, size)]) for name, size in made.carried}
    layers |= {shard.name: Layer(shard.head, shard.pieces) for shard in made.shards}
    layers |= {name: Layer(content) for name, content in made.texts}
    return Overlay(source, layers, label)


def digest(made: Plan) -> str:
    """Return what tells this plan from every other: its headers, its pieces and the state of what it reads."""
    content = [
        [[s.name, hashlib.sha256(s.head).hexdigest(), s.pieces] for s in made.shards],
        made.carried,
        [[name, hashlib.sha256(text).hexdigest()] for name, text in made.texts],
        sorted(made.sources.items()),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _stem(kept: Sequence[Chosen]) -> str:
    for stem in ("adapter_model", "consolidated"):
        if all(item.file.startswith(stem) for item in kept):
            return stem
    return "model"


def _renamed(kept: Sequence[Chosen], pairs: Sequence[tuple[str, str]], notes: list[str]) -> list[Chosen]:
    counts = dict.fromkeys(pairs, 0)
    seen: dict[str, str] = {}

    def name_of(name: str) -> str:
        for pair in pairs:
            if name.startswith(pair[0]):
                counts[pair] += 1
                return pair[1] + name[len(pair[0]) :]
        return name

    def given(tensor: Tensor) -> Tensor:
        name = name_of(tensor.name)
        if name in seen or not name or name == "__metadata__":
            raise ResaveUsage(
                f"--rename: {seen.get(name, tensor.name)} and {tensor.name} would both be {name!r}"
            )
        seen[name] = tensor.name
        return tensor._replace(name=name)

    result = [item._replace(tensors=tuple(map(given, item.tensors))) for item in kept]
    for (old, new), count in counts.items():
        if not count:
            raise ResaveUsage(f"--rename {old}={new}: no tensor's name begins with {old}")
        notes.append(f"{count:,} names: {old}… becomes {new}…")
    return result


def _carried(ckpt: Checkpoint, written: set[str], used: set[str]) -> tuple[list[str], list[str]]:
    """Return the other files that are copied, and those that are left out."""
    carried: list[str] = []
    left: list[str] = []
    for name, known in ckpt.entries.items():
        weights = name in used or (
            "/" not in name and (name.endswith(_WEIGHTS) or fnmatchcase(name, _PICKLES))
        )
        if known.state != "here" or weights or name.endswith(_UNUSED) or name in written:
            left.append(name)
        else:
            carried.append(name)
    return carried, left


def _layout_notes(
    ckpt: Checkpoint, kept: Sequence[Chosen], found: Sequence[OutShard], total: int
) -> Iterable[str]:
    if len(kept) != len(found):
        verb = "becomes" if len(kept) == 1 else "become"
        yield f"{len(kept):,} weight {_files(kept)} {verb} {len(found):,}"
    source = sum(ckpt.entries[item.file].size for item in kept if item.file in ckpt.shards)
    before = sum(8 + ckpt.shards[item.file].header_len for item in kept if item.file in ckpt.shards)
    unused = source - before - total
    if source and unused > 0:
        yield f"{unused:,} bytes that no kept tensor covers are left out"


def _files(items: Sequence[object]) -> str:
    return "file" if len(items) == 1 else "files"
