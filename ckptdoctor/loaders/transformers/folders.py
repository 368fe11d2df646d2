"""Folders that transformers does not read as a model: adapters, single files, and those without a config.json."""

from __future__ import annotations

from ...checkpoint.nouns import Checkpoint
from ...model import Location
from ..adapter import judge as adapter
from ..adapter.tensors import CONFIG
from ..base import Event, Plan, Run

CONFIG_FILES = frozenset({"config.json", "generation_config.json"})


def beside_an_adapter(ckpt: Checkpoint) -> Plan:
    """Return the plan for a model with an adapter's config: with PEFT installed the folder is an adapter."""
    opened = CONFIG_FILES | {"adapter_config.json"}
    if (
        any(name in ckpt.entries for name in ("adapter_model.safetensors", "adapter_model.bin"))
        or ckpt.metadata_only
    ):
        return Plan((), opened, unknown="adapter_config.json sends it to the adapter's base")
    error = "FileNotFoundError: No such file or directory: adapter_model.safetensors"
    at = (Location("adapter_config.json"),)
    return Plan((), opened, (Event("adapter-config-alone", "fails", {}, at, error=error),))


def without_config(run: Run) -> Plan:
    """Return the plan for an adapter, a single file, or a folder that lacks its config.json."""
    ckpt = run.ckpt
    if CONFIG in ckpt.entries:
        return adapter.plan(run)
    if ckpt.label.endswith(".safetensors"):
        return Plan((), frozenset(ckpt.entries), unknown="a single file: no config.json was looked at")
    if ckpt.metadata_only:
        return Plan((), frozenset(ckpt.entries), unknown="no config.json here")
    error = "OSError: … does not appear to have a file named config.json"
    return Plan((), frozenset(ckpt.entries), (Event("no-config", "fails", error=error),))
