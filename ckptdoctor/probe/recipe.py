"""The smallest checkpoint with random values that goes wrong as a user's does: for a report, instead of a model.

Layers and rows of the vocabulary are left out, every value is random but for those that only describe others (tables of
quantisation, orders of groups). Each try is loaded and checked again; the first that shows the same is kept.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .reporting import config_of
from .workers.stored import Entry, Stored, opened

VOCABULARY = 64
_LAYER = re.compile(r"\.(?:layers|h|blocks|layer)\.(\d+)\.")
_TOKENS = re.compile(r"(embed_tokens|lm_head|wte|word_embeddings|embed_in|embed_out)\.(weight|bias)$")
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_VERBATIM = ("quant_map", "nested_quant_map", "g_idx", "weight_shape", "weight_format")
_SIGNED = {"BF16": (2, 0x807F, 0x3C00), "F16": (2, 0x83FF, 0x2400), "F32": (4, 0x807FFFFF, 0x3C000000)}
"""dtype → bytes, the bits that are random, the bits that are set: numbers of about 1/128."""
_POSITIVE = ("absmax", "nested_absmax", "SCB", "scales", "weight_scale", "weight_scale_inv")
_MASKS = {"BF16": 0x007F, "F16": 0x03FF, "F32": 0x007FFFFF}


class Cut(NamedTuple):
    """What is left out: layers from this one on (0: none), rows of the vocabulary or not."""

    layers: int
    vocabulary: bool


def smallest(directory: Path, out: Path, shows: Callable[[Path], bool]) -> Cut | None:
    """Write the smallest such checkpoint to ``out`` and return its cut; None where random values do not show it."""
    stored = opened(directory)
    if stored is None:
        return None
    for cut in _cuts(stored):
        shutil.rmtree(out, ignore_errors=True)
        write(directory, stored, out, cut)
        if shows(out):
            return cut
    shutil.rmtree(out, ignore_errors=True)
    return None


def _cuts(stored: Stored) -> Iterator[Cut]:
    """The tries, the smallest first."""
    layers = {int(found[1]) for name in stored.entries if (found := _LAYER.search(name))}
    for count in [number for number in (1, 2, 4) if number < len(layers)]:
        yield Cut(count, True)
        yield Cut(count, False)
    yield Cut(0, True)
    yield Cut(0, False)


def write(directory: Path, stored: Stored, out: Path, cut: Cut) -> None:
    """Write one such checkpoint: configs, index and shards, each tensor where it was."""
    out.mkdir()
    config = config_of(directory)
    size = config.get("vocab_size") if cut.vocabulary else None
    kept = {name: entry for name, entry in stored.entries.items() if not _is_cut(name, cut)}
    for name, content in (
        ("config.json", config),
        ("adapter_config.json", config_of(directory, "adapter_config.json")),
    ):
        if content:
            (out / name).write_text(json.dumps(_smaller(content, cut, size), indent=2), encoding="utf-8")
    for path in directory.glob("*.safetensors.index.json"):
        index = json.loads(path.read_text(encoding="utf-8"))
        index["weight_map"] = {
            name: file for name, file in index["weight_map"].items() if not _is_cut(name, cut)
        }
        (out / path.name).write_text(json.dumps(index), encoding="utf-8")
    for file in sorted({entry.file for entry in stored.entries.values()}):
        mine = {name: entry for name, entry in kept.items() if entry.file == file}
        _write_shard(out / file.name, stored, mine, size if isinstance(size, int) else None)


def _is_cut(name: str, cut: Cut) -> bool:
    found = _LAYER.search(name)
    return bool(cut.layers and found and int(found[1]) >= cut.layers)


def _smaller(value: Any, cut: Cut, size: Any) -> Any:
    """A config with fewer layers and tokens."""
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        if cut.layers and key in _COUNTS and isinstance(item, int):
            item = min(item, cut.layers)
        elif cut.layers and key == "layer_types" and isinstance(item, list):
            item = item[: cut.layers]
        elif size and key == "vocab_size":
            item = VOCABULARY
        elif size and key.endswith("token_id") and isinstance(item, int):
            item = min(item, VOCABULARY - 1)
        found[key] = _smaller(item, cut, size)
    return found


def _write_shard(path: Path, stored: Stored, tensors: dict[str, Entry], size: int | None) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    parts = []
    for name, entry in tensors.items():
        shape, data = list(entry.shape), values(name, entry, stored)
        if size and shape[:1] == [size] and size > VOCABULARY and _TOKENS.search(name):
            data = data[: len(data) // size * VOCABULARY]
            shape[0] = VOCABULARY
        header[name] = {"dtype": entry.dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(parts)


def values(name: str, entry: Entry, stored: Stored) -> bytes:
    """Bytes for one tensor: random, the same each time; those that describe others as they are."""
    leaf = name.rpartition(".")[2]
    if leaf in _VERBATIM or "bitsandbytes__" in leaf:
        return stored.read(name)
    noise = random.Random(name).randbytes(entry.nbytes)
    if entry.dtype not in _SIGNED:
        return noise
    width, mask, bits = _SIGNED[entry.dtype]
    mask = _MASKS[entry.dtype] if leaf in _POSITIVE else mask
    count = entry.nbytes // width
    every = int.from_bytes(noise, "little")
    every &= int.from_bytes(mask.to_bytes(width, "little") * count, "little")
    every |= int.from_bytes(bits.to_bytes(width, "little") * count, "little")
    return every.to_bytes(count * width, "little")
