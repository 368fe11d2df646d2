"""Which weight files transformers opens: ``_get_resolved_checkpoint_files`` of modeling_utils.py."""

from __future__ import annotations

from ...checkpoint.nouns import Checkpoint
from ..base import Event
from ..shared.files import shards_missing


def weight_files(ckpt: Checkpoint) -> tuple[tuple[str, ...], list[Event]]:
    """Return the safetensors files, one single file before an index, and why it cannot go on."""
    if "model.safetensors" in ckpt.entries:
        return ("model.safetensors",), []
    index = ckpt.index
    if index is None:
        return (), []
    missing = [name for name in index.files if name not in ckpt.shards]
    files = tuple(name for name in index.files if name in ckpt.shards)
    if not missing or ckpt.metadata_only:
        return files, []
    return files, [shards_missing(index, missing, "FileNotFoundError: No such file or directory")]
