"""Recipes: tiny checkpoints written down in a card, built into bytes literally and never from a scheme's data."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..sources.base import Stat
from ..sources.memory import MemorySource
from ..sources.pointer import parse as parse_pointer
from . import tensors

Recipe = Mapping[str, Any]
DEFAULT_LABEL = "model"
WEIGHTS = "model.safetensors"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Files(NamedTuple):
    data: dict[str, bytes | tensors.Sparse]
    stats: dict[str, Stat]


def build(recipe: Recipe) -> MemorySource:
    """Return the checkpoint a recipe describes. Raises ValueError for values that do not fit their dtype."""
    files = _Files({}, {})
    if "config" in recipe:
        files.data["config.json"] = _json(recipe["config"])
    for name, content in recipe.get("files", {}).items():
        _add(files, name, content)
    weight_map: dict[str, str] = {}
    total = 0
    for name, shard in _shards(recipe):
        if "raw" in shard:
            _add(files, name, shard["raw"])
            continue
        entries = expand(shard.get("tensors", {}))
        files.data[name] = tensors.shard(entries, shard)
        weight_map |= dict.fromkeys(entries, name)
        total += sum(tensors.size(entry) for entry in entries.values())
    if "index" in recipe:
        index = recipe["index"]
        if index is True:
            index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        elif isinstance(index.get("weight_map"), dict):
            index = {**index, "weight_map": expand(index["weight_map"])}
        files.data[f"{WEIGHTS}.index.json"] = _json(index)
    return MemorySource(recipe.get("as", DEFAULT_LABEL), files.data, files.stats)


def patched(recipe: Any, delta: Any) -> Any:
    """Return ``recipe`` with a JSON merge patch (RFC 7396) applied: null removes a key."""
    if not isinstance(delta, Mapping):
        return delta
    result = dict(recipe) if isinstance(recipe, Mapping) else {}
    for key, value in delta.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


def expand(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``named`` with ``{0..31}`` in a name written out, each further range within the one before."""
    return {name: value for pattern, value in named.items() for name in _names(pattern)}


def _names(pattern: str) -> Iterator[str]:
    pieces = _RANGE.split(pattern)
    ranges = [range(int(pieces[at]), int(pieces[at + 1]) + 1) for at in range(1, len(pieces), 3)]
    for numbers in itertools.product(*ranges):
        yield "".join(
            text + number
            for text, number in itertools.zip_longest(pieces[::3], map(str, numbers), fillvalue="")
        )


def _shards(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "tensors" in recipe or "metadata" in recipe:
        yield WEIGHTS, {key: recipe[key] for key in ("tensors", "metadata") if key in recipe}
    yield from recipe.get("shards", {}).items()


def _add(files: _Files, name: str, content: str | Mapping[str, Any]) -> None:
    """Add one file; a Git LFS pointer is what it stands for, as in a directory."""
    if isinstance(content, Mapping) and "size" in content:
        files.stats[name] = Stat(content["size"], content.get("state", "absent"))
        return
    data = _bytes(content)
    pointer = parse_pointer(data)
    if pointer is None:
        files.data[name] = data
    else:
        files.stats[name] = Stat(pointer.size, "pointer", pointer.sha256)


def _bytes(content: str | Mapping[str, Any]) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if "json" in content:
        return _json(content["json"])
    if "hex" in content:
        return bytes.fromhex(content["hex"])
    if "base64" in content:
        return base64.b64decode(content["base64"])
    return str(content["text"]).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
