"""Which weight files vLLM opens: DefaultModelLoader._prepare_weights and its twin in the bitsandbytes loader."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from ...checkpoint.nouns import Index
from ...model import Location
from ..base import Event
from ..shared.files import shards_missing
from .block import BNB
from .run import VllmRun

_NONE = "RuntimeError: Cannot find any model weights"


class Files(NamedTuple):
    """Weight files in order, other files opened on the way, and why it cannot go on."""

    weights: tuple[str, ...]
    opened: frozenset[str]
    events: list[Event]


def pick_files(run: VllmRun, method: str) -> Files:
    """Return the weight files: ``load_format`` auto becomes mistral when ``consolidated*`` lies anywhere."""
    names = [n for n in run.ckpt.entries if fnmatchcase(n.rpartition("/")[2], "consolidated*.safetensors")]
    auto = run.target.options.get("load_format", "auto") == "auto" and method != BNB
    if names and auto and run.does("consolidated-switches-format"):
        found = _of_pattern(run, "consolidated*.safetensors", "consolidated.safetensors.index.json")
        if any("/" not in name and name in run.ckpt.shards for name in names):
            return found
        event = Event("consolidated-in-subfolder", "fails", {}, tuple(map(Location, names)), error=_NONE)
        return Files((), found.opened | set(names), [event])
    return _of_pattern(run, "*.safetensors", "model.safetensors.index.json")


def _of_pattern(run: VllmRun, pattern: str, index_file: str) -> Files:
    """Return the files of a pattern in the root, those that the index does not name aside."""
    ckpt = run.ckpt
    here = tuple(sorted(name for name in ckpt.shards if "/" not in name and fnmatchcase(name, pattern)))
    opened = frozenset({index_file} & ckpt.entries.keys())
    index = ckpt.indexes.get(index_file)
    if index is not None:
        return _indexed(run, index, here, opened)
    pickled = any(name.endswith((".bin", ".pt")) and "/" not in name for name in ckpt.entries)
    nothing = not here and not pickled and not ckpt.metadata_only
    return Files(here, opened, [Event("no-weights", "fails", error=_NONE)] if nothing else [])


def _indexed(run: VllmRun, index: Index, here: tuple[str, ...], opened: frozenset[str]) -> Files:
    """``weight_utils.filter_duplicate_safetensors_files``: what the index names, which must be there since 0.26."""
    listed = tuple(sorted(set(here).intersection(index.files)))
    missing = sorted(set(index.files).difference(here))
    if not missing or run.ckpt.metadata_only or not run.does("index-files-must-exist"):
        return Files(listed, opened, [])
    error = "FileNotFoundError: Weight files referenced in index but missing"
    return Files(listed, opened, [shards_missing(index, missing, error)])
