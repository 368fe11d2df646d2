"""What a configuration class makes of a key that config.json leaves out, sets to null or calls by another name."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from .conditions import Env
from .derive import Row
from .effective import effective
from .formulas import Formulas
from .lists import list_rule
from .observation import Observation, environment
from .sample import LAYERS

Plain = dict[str, Any]
_MISSING = object()
_FEWEST = 6
"""Configurations needed before a default counts as explained."""

_SECOND_VOICES = {"id2label": ("num_labels",)}
"""Keys from which a class fills another one in."""


def key_rules(
    config_class: type[Any],
    keys: Sequence[str],
    observations: Sequence[Observation],
    rows: Sequence[Row],
    flat: str | None = None,
) -> Plain:
    """Defaults for `keys` where a file leaves one out or has null, other names for it, and the class's own sizes."""
    rules: Plain = {"absent": {}, "none": {}, "alias": {}, "sizes": {}}
    keys = list(keys)
    for key in keys:  # and those that a default leads to
        names = aliases(config_class, key)
        if names:
            rules["alias"][key] = names
        for case in ("absent", "none"):
            default = _default(config_class, key, names, case, observations, rows)
            if default is _MISSING or (case == "none" and default is None):
                continue
            if case == "absent" and is_size_of_its_own(key, default, flat):
                rules["sizes"] |= {} if flat else {key: default}
                continue
            rules[case][key] = default
            keys += [other for other in _leads_to(default) if other not in keys]
    return rules


def _leads_to(default: Any) -> list[str]:
    """The keys that a default is worked out from."""
    if isinstance(default, dict):
        parts = [default.get(p) for p in ("to", "every", "offset", "first", "of", "length")]
    else:
        parts = [default]
    texts = [part for part in parts if isinstance(part, str)]
    return list(dict.fromkeys(key for text in texts for key in re.findall(r"[A-Za-z_][\w.]*", text)))


def is_size_of_its_own(key: str, default: Any, flat: str | None) -> bool:
    """Whether the class default is just the size of its first model.

    `save_pretrained` writes every size at the top level; where one is absent the config is damaged, or spells it in
    some older way (`n_embed`). Sections below the top level do leave out what equals the default.
    """
    top = "." not in key or (flat is not None and key.startswith(f"{flat}."))
    return top and type(default) is int and default > 4


def aliases(config_class: type[Any], key: str) -> list[str]:
    """Other names of a dotted key that the configuration class accepts."""
    *sections, leaf = key.split(".")
    place: Any = config_class
    for section in sections:
        place = getattr(place, "sub_configs", {}).get(section)
        if place is None or not hasattr(place, "attribute_map"):
            return []
    at = "".join(f"{section}." for section in sections)
    return [at + name for name, target in place.attribute_map.items() if target == leaf]


def _default(
    config_class: type[Any],
    key: str,
    names: list[str],
    case: str,
    seen: Sequence[Observation],
    rows: Sequence[Row],
) -> Any:
    values: list[Any] = []
    envs: list[Env] = []
    for place, observation in enumerate(seen[:14]):
        config = copy.deepcopy(observation.config)
        if isinstance(observation.env.get(key), list):
            _stretch(config, key, len(observation.env[key]), 7 + 5 * place % 37)
        for name in (key, *names, *_SECOND_VOICES.get(key, ())):
            without(config, name)
        if case == "none":
            put(config, key, None)
        try:
            settings = config_class.from_dict(copy.deepcopy(config))
            env = environment(settings, config)
            if env.get(key, _MISSING) is None:
                env[key] = effective(type(observation.model).__name__, key, rows, config)
        except Exception:
            continue
        if key not in env:
            return _MISSING
        values.append(env[key])
        envs.append(environment(settings, config, computed=False))
    if len(values) < _FEWEST:
        return _lone_default(config_class, key) if case == "absent" else _MISSING
    return _explain(key, values, envs)


def _length(values: list[Any], envs: list[Env]) -> Any:
    """The length of a list, as where layers are counted by their kinds."""
    for key in [k for k, v in envs[0].items() if isinstance(v, (list, dict))]:
        if all(
            isinstance(e[key], (list, dict)) and len(e[key]) == n for e, n in zip(envs, values, strict=True)
        ):
            return {"length": key}
    return _MISSING


def _stretch(config: Plain, key: str, length: int, layers: int) -> None:
    """Make a stack longer than any period that a class may repeat its list with."""
    for section in key.split(".")[:-1]:
        config = config.get(section) or {}
    for name, value in list(config.items()):
        if isinstance(value, list) and len(value) == length:
            del config[name]
        elif name in LAYERS and value == length:
            config[name] = layers


def _lone_default(config_class: type[Any], key: str) -> Any:
    """The class default of a key that other keys must fit, so that no random configuration does without it."""
    if not isinstance(config_class, type):  # of a class that only vLLM has: code that nobody reads
        return _MISSING
    value = environment(config_class(), {}).get(key)
    return value if type(value) is int else _MISSING


def _explain(key: str, values: list[Any], envs: list[Env]) -> Any:
    first = values[0]
    if _same(values, [first] * len(values)):
        return {"value": first} if isinstance(first, (str, dict)) else first
    others = [{k: v for k, v in env.items() if k != key} for env in envs]
    if all(type(value) is int for value in values):
        return Formulas(others).find(tuple(values)) or _length(values, others)
    if all(isinstance(value, list) for value in values):
        found = list_rule(values, others)
        return _MISSING if found is None else found
    return next((k for k in others[0] if _same([o.get(k) for o in others], values)), _MISSING)


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(type(a) is type(b) and a == b for a, b in zip(some, others, strict=True))


def without(config: Plain, key: str) -> bool:
    """Drop a dotted key; says whether it was there."""
    *sections, leaf = key.split(".")
    place: Any = config
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    return isinstance(place, dict) and place.pop(leaf, _MISSING) is not _MISSING


def at(config: Plain, key: str) -> Any:
    """The value of a dotted key, None where there is none."""
    place: Any = config
    for section in key.split("."):
        place = place.get(section) if isinstance(place, dict) else None
    return place


def put(config: Plain, key: str, value: Any) -> None:
    """Set a dotted key."""
    *sections, leaf = key.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
    place[leaf] = value
