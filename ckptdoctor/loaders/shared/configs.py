"""What ``AutoConfig`` makes of config.json before any weight is opened; vLLM goes through it as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from ... import ruledata
from ...checkpoint.nouns import Checkpoint
from ...model import Location, Outcome
from .. import facts
from ..base import Event
from .numbers import layers_of, number_events


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


def value_events(ckpt: Checkpoint, *, validated: bool, uncountable: Outcome = "fails-late") -> list[Event]:
    """Return the values that the config class refuses, or that no model can be built with.

    ``validated``: the class checks its fields (transformers 5); before, some classes notice a wrong list of layers.
    ``uncountable``: what becomes of -1 layers.
    """
    events = number_events(ckpt, validated=validated, uncountable=uncountable)
    kinds, layers = ckpt.config.get("layer_types"), layers_of(ckpt)
    if (
        "auto_map" in ckpt.config
        or not isinstance(kinds, list)
        or type(layers) is not int
        or len(kinds) == layers
    ):
        return events
    details = {"key": "layer_types", "value": f"a list of {len(kinds)} for {layers} layers"}
    at = (Location("config.json", "/layer_types"),)
    return [*events, Event("value-refused", "fails" if validated else "unknown", details, at)]


def foreign_class(ckpt: Checkpoint) -> str:
    """Say that the class computes otherwise than the model that ``model_type`` stands for, "" where they agree."""
    names, stated = ckpt.config.get("architectures"), str(ckpt.config.get("model_type"))
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    built = ckpt.rulebook.architecture(name) if name else None
    if built is None or stated in built["model_types"] or ckpt.rulebook.class_of(stated) is None:
        return ""
    return (
        f"{name[:60]} is no class of model_type {stated[:60]}: what fits it may not compute what was trained"
    )


def differing_class(ckpt: Checkpoint) -> list[Event]:
    """Return the refusal of a class whose sizes the config of another ``model_type`` does not have."""
    names, stated = ckpt.config.get("architectures"), str(ckpt.config.get("model_type"))
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    other = ckpt.rulebook.class_of(stated)
    built = ckpt.rulebook.architecture(name) if name else None
    read = ckpt.rulebook.architecture(other) if other else None
    if built is None or read is None or stated in built["model_types"]:
        return []
    has = {*read.get("sizes", ()), *read.get("absent", ())}
    spelled = ckpt.config.keys() - built.get("alias", {}).keys()  # one by another name is looked for by that
    lacking = sorted(built.get("sizes", {}).keys() - has - spelled)
    if not lacking:
        return []
    at = (Location("config.json", "/model_type"),)
    details = {"architecture": name, "model_type": stated, "key": lacking[0]}
    return [
        Event("class-differs", "fails", details, at, error="AttributeError: 'Config' object has no attribute")
    ]


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
