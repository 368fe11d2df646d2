"""Which untested keys would change the tensors: a blueprint must not speak for values it never saw."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ckptdoctor.expected.blueprint import starred

from .defaults import at, put
from .observation import Observation
from .observe import observe

Plain = dict[str, Any]

_HARMLESS = ("dtype", "torch_dtype", "model_type", "architectures", "problem_type", "transformers_version")


def required(
    name: str, tested: Collection[str], shapeless: Collection[str], seen: Sequence[Observation]
) -> dict[str, list[Any]]:
    """Keys that stayed the same in every observation although another value changes names, shapes or ties.

    The shapes of `shapeless` templates are not described, so they may change.
    """
    found: dict[str, list[Any]] = {}
    for observation in seen[:1]:
        for key, value in _scalars(observation.config):
            if key in tested or key in found or any(at(o.config, key) != value for o in seen):
                continue
            if any(_changes(name, observation, key, other, shapeless) for other in _others(key, value)):
                found[key] = [value]
    return found


def _scalars(config: Plain, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and key.endswith("_config"):
            yield from _scalars(value, f"{prefix}{key}.")
        elif key not in _HARMLESS and "token" not in key and isinstance(value, (bool, int, str, type(None))):
            yield prefix + key, value


def _others(key: str, value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value + 2, 0]
    if value is None:
        return [True, 2, 6]
    return {
        "position_embedding_type": ["relative_key", "rotary", "absolute"],
        "feed_forward_proj": ["gated-gelu", "relu"],
        "hidden_act": ["gelu", "relu"],
    }.get(key.rpartition(".")[2], [])


def _changes(name: str, observation: Observation, key: str, value: Any, shapeless: Collection[str]) -> bool:
    config = copy.deepcopy(observation.config)
    put(config, key, value)
    try:
        other = observe(name, config)
    except Exception:
        return False
    if other.tied != observation.tied or other.released.keys() != observation.released.keys():
        return True
    return any(
        shape != other.released[tensor] and not {tensor, starred(tensor)[0]} & set(shapeless)
        for tensor, shape in observation.released.items()
    )
