"""The words that a list such as `layer_types` may hold, older words included."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from transformers.configuration_utils import _LEGACY_LAYER_TYPE_REMAP

from .defaults import at, put
from .derive import Row
from .observation import Observation, environment


def kinds_of(
    config_class: type[Any], rows: Iterable[Row], seen: Sequence[Observation]
) -> dict[str, dict[str, str]]:
    """For each list that decides over layers: every word tried, and what the class takes it for."""
    keys = {
        each["where"]: None for row in rows for each in row.over if isinstance(each, dict) and "where" in each
    }
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        words = sorted({word for o in seen for word in o.env[key] if isinstance(word, str)})
        if words:
            found[key] = {word: word for word in words} | _older(config_class, key, words, seen[0])
    return found


def _older(config_class: type[Any], key: str, words: Sequence[str], seen: Observation) -> dict[str, str]:
    found = {}
    for old, new in _LEGACY_LAYER_TYPE_REMAP.items():
        config = copy.deepcopy(seen.config)
        if new not in words or not isinstance(at(config, key), list):
            continue
        put(config, key, [old] * len(at(config, key)))
        try:
            env = environment(config_class.from_dict(config), {})
        except Exception:
            continue
        if set(env.get(key, ())) == {new}:
            found[old] = new
    return found
