"""torchao: tensors in parts, which ``__metadata__`` of every safetensors file tells how to put together.

``unflatten_tensor_state_dict`` of
https://github.com/pytorch/ao/blob/v0.18.0/torchao/prototype/safetensors/safetensors_support.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint, View
from .base import Format

NAMES = "tensor_names"
"""The key of ``__metadata__`` that lists the tensors that were flattened."""
PARTS = ("_weight_qdata", "_weight_scale")
"""The parts that a weight is put together from, whatever its type, but for packed ones."""


class Entry(NamedTuple):
    """What the metadata say of one tensor."""

    fault: str = ""
    """``absent``, ``not JSON`` or ``without a type``: then the rest is empty."""
    type: str = ""
    parts: tuple[str, ...] = ()
    block: tuple[int, ...] = ()


class Description(NamedTuple):
    """The metadata of all files of a view, merged as transformers merges them: the last file wins."""

    names: frozenset[str]
    entries: Mapping[str, object]

    def entry(self, name: str) -> Entry:
        """Return what is said of one tensor."""
        text = self.entries.get(name)
        if not isinstance(text, str):
            return Entry("absent")
        value = _parsed(text)
        if not isinstance(value, dict):
            return Entry("not JSON")
        if not isinstance(value.get("_type"), str):
            return Entry("without a type")
        data = value.get("_data")
        block = data.get("block_size") if isinstance(data, dict) else None
        return Entry("", value["_type"], _texts(value.get("_tensor_data_names")), _numbers(block))


def described(ckpt: Checkpoint, view: View) -> Description | None:
    """Return the description, None where there is none or a file of the view cannot be read."""
    merged: dict[str, object] = {}
    for file in view.files:
        shard = ckpt.shards.get(file)
        if shard is None or not shard.readable:
            return None
        merged |= shard.metadata or {}
    listed = merged.get(NAMES)
    names = _parsed(listed) if isinstance(listed, str) else None
    return Description(frozenset(_texts(names)), merged) if isinstance(names, list) else None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _numbers(value: object) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(item) is int and item > 0 for item in value)
    return tuple(value) if isinstance(value, list) and whole else ()


FORMAT = Format
