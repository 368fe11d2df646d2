"""The weight files of a checkpoint directory taken together: search, rewrite, index."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path

from tests.observe.container import Shard, Tensor, read_shard, write_shard


def shard_files(directory: Path) -> list[Path]:
    """The safetensors files directly in `directory`, in order of name."""
    return sorted(directory.glob("*.safetensors"))


def matching(
    directory: Path, pattern: str, *, regex: bool = False
) -> Iterator[tuple[Path, Shard, list[str]]]:
    """Each weight file with a tensor matching the glob (or expression); LookupError when there is none."""
    compiled = re.compile(pattern if regex else translate(pattern))
    hits = 0
    for path in shard_files(directory):
        shard = read_shard(path)
        found = [name for name in shard.tensors if (compiled.search if regex else compiled.match)(name)]
        if found:
            hits += 1
            yield path, shard, found
    if not hits:
        raise LookupError(f"no tensor matches {pattern}")


def rewrite(directory: Path, pattern: str, change: Callable[[str, Tensor], dict[str, Tensor]]) -> None:
    """Put what `change` returns in the place of each tensor that matches the glob."""
    for path, shard, found in matching(directory, pattern):
        tensors: dict[str, Tensor] = {}
        for name, tensor in shard.tensors.items():
            tensors |= change(name, tensor) if name in found else {name: tensor}
        write_shard(path, Shard(shard.metadata, tensors))


def rebuild_index(directory: Path) -> None:
    """Write model.safetensors.index.json anew from the weight files that are there."""
    weight_map, size = {}, 0
    for path in shard_files(directory):
        for name, tensor in read_shard(path).tensors.items():
            weight_map[name] = path.name
            size += len(tensor.data)
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
