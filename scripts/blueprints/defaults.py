"""What a configuration class makes of a key that config.json leaves out, sets to null or calls by another name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from .fit import Env, Formulas
from .observe import Observation, environment

Plain = dict[str, Any]
_MISSING = object()


def key_rules(
    config_class: type[Any], keys: Sequence[str], observations: Sequence[Observation], flat: str | None = None
) -> Plain:
    """Defaults for `keys` where a file leaves one out or has null, other names for it, and the class's own sizes."""
    rules: Plain = {"absent": {}, "none": {}, "alias": {}, "sizes": {}}
    for key in keys:
        names = aliases(config_class, key)
        if names:
            rules["alias"][key] = names
        for case in ("absent", "none"):
            default = _default(config_class, key, names, case, observations)
            if default is _MISSING or (case == "none" and default is None):
                continue
            if case == "absent" and is_size_of_its_own(key, default, flat):
                rules["sizes"] |= {} if flat else {key: default}
                continue
            rules[case][key] = default
    return rules


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
    config_class: type[Any], key: str, names: list[str], case: str, seen: Sequence[Observation]
) -> Any:
    values: list[Any] = []
    envs: list[Env] = []
    for observation in seen[:24]:
        config = copy.deepcopy(observation.config)
        for name in (key, *names):
            without(config, name)
        if case == "none":
            put(config, key, None)
        try:
            env = environment(config_class.from_dict(copy.deepcopy(config)), config)
        except Exception:
            continue
        if key not in env:
            return _MISSING
        values.append(env[key])
        envs.append(env)
    if len(values) < 6:
        return _MISSING
    return _explain(key, values, envs)


def _explain(key: str, values: list[Any], envs: list[Env]) -> Any:
    first = values[0]
    if all(type(value) is type(first) and value == first for value in values):
        return {"value": first} if isinstance(first, str) else first
    others = [{k: v for k, v in env.items() if k != key} for env in envs]
    if all(type(value) is int for value in values):
        return Formulas(others).find(tuple(values)) or _MISSING
    if all(isinstance(value, list) for value in values):
        return _repeating(values, others)
    same = [
        k
        for k in others[0]
        if all(type(o.get(k)) is type(v) and o.get(k) == v for o, v in zip(others, values, strict=True))
    ]
    return same[0] if same else _MISSING


def _repeating(values: list[list[Any]], envs: list[Env]) -> Any:
    """A list such as `layer_types` that repeats with a period given by a key or by the class."""
    stacks = [k for k in envs[0] if all(env.get(k) == len(v) for env, v in zip(envs, values, strict=True))]
    periods: list[int | str] = [*range(1, 9), *(k for k in envs[0] if "interval" in k or "pattern" in k)]
    for every in periods:
        steps: list[Any] = [env.get(every) if isinstance(every, str) else every for env in envs]
        if not stacks or not all(type(step) is int and step > 0 for step in steps):
            continue
        pairs = list(zip(values, steps, strict=True))
        last = {v for value, step in pairs for i, v in enumerate(value) if (i + 1) % step == 0}
        other = {v for value, step in pairs for i, v in enumerate(value) if (i + 1) % step}
        if len(last) == 1 and len(other) <= 1:
            return {
                "to": stacks[0],
                "every": every,
                "last": last.pop(),
                "other": other.pop() if other else None,
            }
    return _MISSING


def without(config: Plain, key: str) -> bool:
    """Drop a dotted key; says whether it was there."""
    *sections, leaf = key.split(".")
    place: Any = config
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    return isinstance(place, dict) and place.pop(leaf, _MISSING) is not _MISSING


def put(config: Plain, key: str, value: Any) -> None:
    """Set a dotted key."""
    *sections, leaf = key.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
    place[leaf] = value
