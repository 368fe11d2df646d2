"""A whole checkpoint in memory, made from a config: every tensor that its class is known to ask for, in 16 bits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

from ckptdoctor.expected.blueprint import Entry, Expected, expected
from ckptdoctor.sources.memory import MemorySource
from tests.support.headers import shard
from tests.support.shipped import RULEBOOK


def made(config: dict[str, Any]) -> MemorySource | str:
    """Return the checkpoint, or why its tensors are not known."""
    found = tensors(config)
    if isinstance(found, str):
        return found
    data = shard({name: ("BF16", shape) for name, shape in found.items()})
    return MemorySource("made", {"config.json": json.dumps(config).encode(), "model.safetensors": data})


def tensors(config: dict[str, Any]) -> dict[str, tuple[int, ...]] | str:
    """Return every tensor of a class with its shape, or why they are not known."""
    blueprint = RULEBOOK.architecture(config["architectures"][0])
    known = expected(blueprint, config) if blueprint else "its class is not described"
    if isinstance(known, str):
        return known
    found = dict(_tensors(known))
    if any(shape is None for shape in found.values()):
        return "a shape is not known"
    return {name: shape for name, shape in found.items() if shape is not None}


def _tensors(known: Expected) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Yield every tensor; of a tied group the first, as files have it."""
    second = {name for group in known.tied for name in list(filter(group.__contains__, known.entries))[1:]}
    for template, entries in known.entries.items():
        if template not in second:
            for entry in entries:
                yield from ((name, entry.shape) for name in _names(entry))


def _names(entry: Entry) -> Iterator[str]:
    for index in product(*entry.indices):
        numbers = map(str, index)
        yield ".".join(next(numbers) if part == "*" else part for part in entry.template.split("."))
