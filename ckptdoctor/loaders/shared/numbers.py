"""Numbers in config.json that a class refuses, that no model can be built with, or that spoil every answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from ...checkpoint.nouns import Checkpoint
from ...expected.blueprint import Gap, expected
from ...model import Location, Outcome
from ..base import Event

Plain = Mapping[str, Any]

_TYPES = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "dict",
    type(None): "null",
}
_OUTCOMES: dict[str, Outcome] = {"negative": "fails", "zero": "fails", "type": "fails"}
"""What becomes of a fault (``Unknowable``): torch makes no such tensor."""
_SIZES = ("_dim", "_size", "_heads", "_layers", "_rank", "_experts")
_MANY = 1000
"""Keys of one object beyond which none of them is looked at first."""
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_HEADS = ("num_attention_heads", "num_key_value_heads")
_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon")


def number_events(ckpt: Checkpoint, *, validated: bool, uncountable: Outcome = "fails-late") -> list[Event]:
    """Return the numbers that stop the load or spoil the model.

    ``validated``: the config class checks the types of its fields (transformers 5). ``uncountable``: what becomes of
    -1 layers; transformers builds such a model, and no more.
    """
    config = ckpt.config
    if not config or "auto_map" in config:
        return []
    blueprint = blueprint_of(ckpt)
    found = _refused(config, blueprint, validated)
    if not found and blueprint is not None:
        found = _impossible(config, blueprint, uncountable)
    chosen = _chosen_experts(config) if blueprint is not None and "experts" in blueprint else ()
    return [*found, *_harmful(config), *_in_attention(config), *chosen]


def shown(value: object) -> str:
    """Return a value of config.json as its author sees it, cut short."""
    return json.dumps(value)[:40]


def blueprint_of(ckpt: Checkpoint) -> Plain | None:
    """Return what is known of the class that ``model_type`` leads to."""
    config, rulebook = ckpt.config, ckpt.rulebook
    names, stated = config.get("architectures"), str(config.get("model_type"))
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    blueprint = rulebook.architecture(name) if name else None
    if blueprint is None or stated not in blueprint["model_types"]:
        other = rulebook.class_of(stated)
        blueprint = rulebook.architecture(other) if other else None
    return blueprint


def _refused(config: Plain, blueprint: Plain | None, validated: bool) -> list[Event]:
    if blueprint is None:
        return []
    if not validated:
        # Before transformers 5 nothing is checked; a size of another type stops the model where it is built.
        fields: Plain = {"int": " ".join(blueprint.get("sizes", ()))}
    else:
        fields = blueprint.get("fields") or {"int": " ".join(blueprint.get("sizes", ()))}
    return [
        _event("value-refused", "fails", key, value)
        for words, keys in fields.items()
        for key, value in _stored(config, keys.split())
        if not _accepts(words.split(), value)
    ]


def _accepts(words: Collection[str], value: object) -> bool:
    """Whether a value has one of the types; a share is a fraction of at most one."""
    if isinstance(value, float) and "share" in words:
        return 0 <= value <= 1
    return _TYPES.get(type(value), "") in words


def _stored(config: Plain, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the keys that the file has with their values; one of a section has a dot in it."""
    for key in keys:
        section, _, leaf = key.rpartition(".")
        place = config.get(section) if section else config
        if isinstance(place, Mapping) and leaf in place:
            yield key, place[leaf]


def _impossible(config: Plain, blueprint: Plain, uncountable: Outcome) -> list[Event]:
    none = [
        _event("value-impossible", "fails", k, v, why="no head is left")
        for k, v in _stored(config, _HEADS)
        if v == 0
    ]
    if none or not any(map(_is_worth_a_look, (config, *_sections(config)))):
        return none
    gap = expected(blueprint, config)
    outcomes = {**_OUTCOMES, "negative count": uncountable, "huge": "unknown"}
    if not isinstance(gap, Gap) or gap.fault not in outcomes:
        return []
    names = (gap.key, *blueprint.get("alias", {}).get(gap.key, ()))
    accepted = {
        key: words.split() for words, keys in blueprint.get("fields", {}).items() for key in keys.split()
    }
    return [
        _event("value-impossible", outcomes[gap.fault], key, value, why=str(gap))
        for key, value in _stored(config, names)
        if gap.fault != "type" or not _accepts(accepted.get(key, ()), value)
    ]


def _is_worth_a_look(section: Plain) -> bool:
    """Whether the blueprint is to say; where there are more keys than any class has, it is asked at once."""
    return len(section) > _MANY or any(_suspicious(key, value) for key, value in section.items())


def _suspicious(key: str, value: object) -> bool:
    """Whether no size is like this; many a switch is 0, so the blueprint is to say."""
    if type(value) is int:
        return value <= 0 or value > 1 << 16
    return key.endswith(_SIZES)


def _sections(config: Plain) -> list[Plain]:
    return [value for value in config.values() if isinstance(value, dict)]


def _harmful(config: Plain) -> list[Event]:
    """Return numbers that any loader computes with and no model was trained with."""
    found = []
    for section in ("", *(f"{key}." for key, value in config.items() if isinstance(value, dict))):
        for key, value in _stored(config, [f"{section}{name}" for name in (*_EPSILONS, "rope_theta")]):
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            epsilon = not key.endswith("rope_theta")
            beyond = abs(value) >= 1 if epsilon else value <= 0
            if beyond or not abs(value) < inf:  # an integer may be too large for a float
                found.append(_event("value-harmful", "corrupt", key, value))
    return found


def _in_attention(config: Plain) -> Iterator[Event]:
    """Yield what the first attention layer stumbles over."""
    for section in ("", *(f"{key}." for key, value in config.items() if isinstance(value, dict))):
        for key, value in _stored(config, [f"{section}query_pre_attn_scalar"]):
            if type(value) in (int, float) and value <= 0:
                why = "its root is the scale of every attention"
                yield _event("value-impossible", "fails-late" if value else "fails", key, value, why=why)
        for _, kinds in _stored(config, [f"{section}layer_types"]):
            slides = isinstance(kinds, list) and "sliding_attention" in kinds
            for key, value in _stored(config, [f"{section}sliding_window"]) if slides else ():
                if value is None or (type(value) is int and value <= 0):
                    why = "layer_types has layers that need a window"
                    yield _event("value-impossible", "fails-late", key, value, why=why)


def _chosen_experts(config: Plain) -> Iterator[Event]:
    """Yield a choice of experts that cannot be made, or that leaves all of them out without a word."""
    for section in ("", *(f"{key}." for key, value in config.items() if isinstance(value, dict))):
        counts = [value for _, value in _stored(config, [f"{section}{name}" for name in _EXPERTS])]
        experts = next((count for count in counts if type(count) is int and count > 0), 0)
        for key, value in _stored(config, [f"{section}num_experts_per_tok"]):
            if type(value) is not int or not experts:
                continue
            if value == 0:
                yield _event("value-harmful", "corrupt", key, value)
            elif not 0 < value <= experts:
                why = f"there are {experts} experts"
                yield _event("value-impossible", "fails-late", key, value, why=why)


def layers_of(ckpt: Checkpoint) -> object:
    """Return the number of layers that the class takes: that of the file, else its own."""
    blueprint = blueprint_of(ckpt)
    own = blueprint.get("sizes", {}).get("num_hidden_layers") if blueprint else None
    return ckpt.config.get("num_hidden_layers", own)


def _event(code: str, outcome: Outcome, key: str, value: object, **details: str) -> Event:
    at = (Location("config.json", f"/{key.replace('.', '/')}"),)
    return Event(code, outcome, {"key": key, "value": shown(value), **details}, at)
