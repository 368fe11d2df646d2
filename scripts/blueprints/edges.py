"""Configurations as careless or old writers leave them: keys null or absent, and the class's own defaults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from .defaults import put, without
from .derive import keys_of
from .sample import HEADS, KV_HEADS, WIDTHS, draw

Plain = dict[str, Any]


def edge_cases(
    config_class: type[Any], recipe: Plain, blueprint: Plain, rng: random.Random
) -> Iterator[tuple[str, Plain]]:
    """Each key that the blueprint reads, once null and once absent; then the defaults, whole and as saved."""
    backbones = recipe.get("backbones", [{}])
    for key in keys_of(blueprint):
        names = (key, *blueprint.get("alias", {}).get(key, ()))
        for case in ("null", "absent"):
            config = draw(config_class, rng, {**recipe, "backbone": rng.choice(backbones)})
            for name in (*names, *_with(key)):
                without(config, name)
            if case == "null":
                put(config, key, None)
            yield f"{key} {case}", config
    if not isinstance(
        config_class, type
    ):  # of a class that only vLLM has: built in earnest, hence kept small
        return
    yield "the defaults", _plain(config_class().to_dict())
    yield "the defaults as saved", _plain(config_class().to_diff_dict())


def _with(key: str) -> list[str]:
    """Sizes that go together: heads must divide the width, also where a default fills one of them in."""
    section, dot, leaf = key.rpartition(".")
    return (
        [f"{section}{dot}{name}" for name in (*WIDTHS, *HEADS, *KV_HEADS)]
        if leaf in (*WIDTHS, *HEADS)
        else []
    )


def _plain(config: Plain) -> Plain:
    return {key: value for key, value in config.items() if key != "transformers_version"}
