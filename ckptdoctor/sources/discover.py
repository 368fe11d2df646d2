"""Finding the checkpoints below a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .local import MAX_DEPTH, SKIPPED

_SUFFIXES = (".safetensors", ".safetensors.index.json", ".bin.index.json")
_NAMES = frozenset({"config.json", "adapter_config.json", "pytorch_model.bin", "consolidated.00.pth"})


def checkpoints_below(path: str | os.PathLike[str], limit: int | None = None) -> list[Path]:
    """Return ``path`` if it is a checkpoint, else every directory below it (depth ≤ 3) that is one, sorted.

    A checkpoint holds weights, a shard index, ``config.json`` or ``adapter_config.json``; what lies below one
    belongs to it. A path that is no directory stands for itself. No more than ``limit`` are looked for.
    """
    root = Path(path)
    if not root.is_dir():
        return [root]
    return list(islice(_below(root, 0), limit))


def _below(directory: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(directory) as found:
            children = sorted(found, key=lambda child: child.name)
    except OSError:
        return
    if any(child.name in _NAMES or child.name.endswith(_SUFFIXES) for child in children):
        yield directory
    elif depth < MAX_DEPTH:
        for child in children:
            if child.name not in SKIPPED and child.is_dir(follow_symlinks=False):
                yield from _below(directory / child.name, depth + 1)
