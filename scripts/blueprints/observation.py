"""One model as it was seen, and its configuration as its class reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

Shapes = dict[str, tuple[int, ...]]


class Observation(NamedTuple):
    """One model, built without memory for its weights."""

    config: dict[str, Any]
    """The configuration as drawn, as a config.json would hold it."""
    env: dict[str, Any]
    """Every configuration value after the class has filled its defaults, by dotted key."""
    released: Shapes
    """Tensors as saved: experts one by one, released prefixes."""
    native: Shapes
    """Tensors as the modules name them in memory."""
    kinds: dict[str, str]
    tied: dict[str, str]
    model: Any
    forgiven: frozenset[str] = frozenset()
    """Tensors that the class saves and does not miss, left out of the others."""


def environment(settings: Any, config: dict[str, Any], at: str = "", computed: bool = True) -> dict[str, Any]:
    """Flatten a configuration object; `head_dim` is added where only the modules know its default.

    `computed` adds the properties of the class.
    """
    env: dict[str, Any] = {}
    plain = settings.to_dict()
    for key in [*plain, *config]:
        try:
            value = getattr(settings, key, None)
        except Exception:
            value = plain.get(key)
        if hasattr(value, "to_dict"):
            env.update(environment(value, config.get(key) or {}, f"{at}{key}.", computed))
        else:
            # What the file says counts, even where the class overrules it: the reader sees the file.
            env[at + key] = value if config.get(key) is None else config[key]
    if not at:
        env["num_labels"] = config.get("num_labels") or settings.num_labels
    if computed:
        env.update({at + key: value for key, value in _computed(settings) if at + key not in env})
    if f"{at}head_dim" not in env and not hasattr(type(settings), "head_dim"):
        env.update(_head_dim(env, at))
    return env


def _head_dim(env: dict[str, Any], at: str) -> dict[str, int]:
    """The width of a head where no key says it: the modules divide."""
    width, heads = env.get(f"{at}hidden_size"), env.get(f"{at}num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads:
        return {f"{at}head_dim": width // heads}
    return {}


def _computed(settings: Any) -> Iterator[tuple[str, Any]]:
    """Numbers and lists that the class works out from other keys, such as Jamba's `layers_block_type`."""
    for base in type(settings).__mro__:
        if base.__module__.startswith("transformers.models."):
            for key, member in vars(base).items():
                if isinstance(member, property) and not key.startswith("_"):
                    with contextlib.suppress(Exception):
                        value = getattr(settings, key)
                        if type(value) is int or (
                            isinstance(value, list) and all(isinstance(item, str) for item in value)
                        ):
                            yield key, value
