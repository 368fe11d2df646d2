"""What ``AutoConfig`` makes of config.json before any weight is opened; vLLM goes through it as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .. import ruledata
from ..checkpoint.nouns import Checkpoint
from ..model import Location
from . import facts
from .base import Event


def known_model_types(data: Mapping[str, object], version: str) -> frozenset[str]:
    """Return the ``model_type`` names that ``version`` knows, empty where that was not read."""
    for row in facts.rows(data, "model_types"):
        if ruledata.matches(row["versions"], version):
            return frozenset(row["names"].split())
    return frozenset()


def model_type_events(ckpt: Checkpoint, names: Collection[str]) -> list[Event]:
    """Return the refusal of a ``model_type`` that is absent or not among ``names``.

    Without one AutoConfig looks for a known name in the path; with remote code the mapping is not asked.
    """
    config = ckpt.config
    if not config or not names or "auto_map" in config:
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
