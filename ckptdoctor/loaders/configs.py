"""What ``AutoConfig`` makes of config.json before any weight is opened; vLLM goes through it as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from .. import ruledata
from ..checkpoint.nouns import Checkpoint
from ..model import Location
from . import facts
from .base import Event


def known_model_types(data: Mapping[str, object], version: str) -> frozenset[str]:
    """Return the ``model_type`` names that ``version`` knows, empty where that was not read."""
    for row in facts.rows(data, "model_types"):
        if ruledata.matches(row["versions"], version):
            return _words(row["names"])
    return frozenset()


@cache
def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


def model_type_events(ckpt: Checkpoint, names: Collection[str]) -> list[Event]:
    """Return the refusal of a ``model_type`` that is absent or not among ``names``.

    Without one AutoConfig looks for a known name in the path; with remote code the mapping is not asked, and a folder
    with ``_class_name`` is a component for diffusers.
    """
    config = ckpt.config
    if not config or not names or "auto_map" in config or "_class_name" in config:
        return []
    found = config.get("model_type")
    if found is None:
        if any(name in ckpt.label for name in names):
            return []
        error = "ValueError: Unrecognized model. Should have a `model_type` key in its config.json."
        return [Event("model-type-absent", "fails", {}, (Location("config.json"),), error=error)]
    if isinstance(found, str) and found not in names:
        at = (Location("config.json", "/model_type"),)
        error = f"ValueError: The checkpoint you are trying to load has model type `{found[:60]}`"
        return [Event("model-type-unknown", "fails", {"model_type": found[:60]}, at, error=error)]
    return []


def unread_keys(ckpt: Checkpoint, version: str, data: Mapping[str, object]) -> list[Event]:
    """Return keys that this version reads under another name, so that its default takes their place."""
    events = []
    for row in facts.rows(data, "renamed_keys"):
        there, here = row["key"], row["reads"]
        if ckpt.config.get("model_type") != row["model_type"] or not ruledata.matches(
            row["versions"], version
        ):
            continue
        if there in ckpt.config and here not in ckpt.config and ckpt.config[there] != row["default"]:
            at = (Location("config.json", f"/{there}"),)
            error = "RuntimeError: Error(s) in loading state_dict for Linear: size mismatch"
            events.append(Event("key-unread", "fails", {"key": there, "reads": here}, at, error=error))
    return events
