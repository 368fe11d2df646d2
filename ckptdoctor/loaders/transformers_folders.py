"""Folders that transformers does not take for a plain model: an adapter's, and those without a config.json."""

from __future__ import annotations

from ..checkpoint.nouns import Checkpoint
from ..model import Location
from . import adapter
from .adapter_tensors import CONFIG
from .base import Event, Plan

CONFIG_FILES = frozenset({"config.json", "generation_config.json"})


def beside_an_adapter(ckpt: Checkpoint) -> Plan:
    """With PEFT installed an adapter_config.json beside config.json makes the folder an adapter."""
    opened = CONFIG_FILES | {"adapter_config.json"}
    if (
        any(name in ckpt.entries for name in ("adapter_model.safetensors", "adapter_model.bin"))
        or ckpt.metadata_only
    ):
        return Plan((), opened, unknown="adapter_config.json sends it to the adapter's base")
    error = "FileNotFoundError: No such file or directory: adapter_model.safetensors"
    at = (Location("adapter_config.json"),)
    return Plan((), opened, (Event("adapter-config-alone", "fails", {}, at, error=error),))


def without_config(ckpt: Checkpoint) -> Plan:
    """A folder without config.json is an adapter, a lone file, or nothing that loads."""
    if CONFIG in ckpt.entries:
        return adapter.plan(ckpt)
    if ckpt.label.endswith(".safetensors"):
        return Plan((), frozenset(ckpt.entries), unknown="a single file: no config.json was looked at")
    if ckpt.metadata_only:
        return Plan((), frozenset(ckpt.entries), unknown="no config.json here")
    error = "OSError: … does not appear to have a file named config.json"
    return Plan((), frozenset(ckpt.entries), (Event("no-config", "fails", error=error),))
