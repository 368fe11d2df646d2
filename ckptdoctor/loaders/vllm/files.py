"""Which weight files vLLM opens: DefaultModelLoader._prepare_weights and its twin in the bitsandbytes loader."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ... import ruledata
from ...checkpoint.nouns import Checkpoint
from ...model import Location, Outcome, Target
from ..base import Event
from ..shared import facts

BNB = "bitsandbytes"


def pick_files(
    ckpt: Checkpoint, method: str, target: Target, data: Mapping[str, object]
) -> tuple[tuple[str, ...], frozenset[str], list[Event]]:
    """Return the weight files, the index opened, and why it cannot go on."""
    pattern, index_file = "*.safetensors", "model.safetensors.index.json"
    consolidated = [
        name for name in ckpt.entries if fnmatchcase(name.rpartition("/")[2], "consolidated*.safetensors")
    ]
    auto = target.options.get("load_format", "auto") == "auto"
    if (
        consolidated
        and auto
        and method != BNB
        and facts.does(data, "consolidated-switches-format", target.version)
    ):
        pattern, index_file = "consolidated*.safetensors", "consolidated.safetensors.index.json"
    here = tuple(sorted(name for name in ckpt.shards if "/" not in name and fnmatchcase(name, pattern)))
    index = ckpt.indexes.get(index_file)
    opened = frozenset({index_file}) if index_file in ckpt.entries else frozenset[str]()
    if pattern.startswith("consolidated") and not here:
        error = "RuntimeError: Cannot find any model weights"
        places = tuple(Location(name) for name in consolidated)
        return (
            (),
            opened | set(consolidated),
            [Event("consolidated-in-subfolder", "fails", {}, places, error=error)],
        )
    if index is None:
        pickled = any(name.endswith((".bin", ".pt")) and "/" not in name for name in ckpt.entries)
        if not here and not pickled and not ckpt.metadata_only:
            error = "RuntimeError: Cannot find any model weights"
            return (), opened, [Event("no-weights", "fails", error=error)]
        return here, opened, []
    named = index.files
    listed = tuple(sorted(set(here).intersection(named)))
    missing = sorted(set(named).difference(here))
    if not missing or ckpt.metadata_only:
        return listed, opened, []
    outcome: Outcome = "fails" if facts.does(data, "index-files-must-exist", target.version) else "ok"
    event = Event(
        "shard-missing",
        outcome,
        {"shards": len(missing)},
        tuple(Location(index.file, note=name) for name in missing),
        count=len(missing),
        error="FileNotFoundError: Weight files referenced in index but missing",
    )
    return listed, opened, [event] if outcome == "fails" else []


def refused_class(ckpt: Checkpoint, target: Target, data: Mapping[str, object]) -> list[Event]:
    """Return one event where the model class has no ``packed_modules_mapping``, which that loader asks for."""
    names = ckpt.config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    rows = (row for row in facts.rows(data, "bnb_refused") if row["architecture"] == name)
    if not any(ruledata.matches(row["versions"], target.version) for row in rows):
        return []
    error = f"AttributeError: Model {name} does not support BitsAndBytes quantization yet."
    at = (Location("config.json", "/architectures/0"),)
    return [Event("bnb-class", "fails", {"architecture": str(name)}, at, error=error)]
