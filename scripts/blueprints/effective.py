"""The number that the modules work with where a configuration class leaves a key at null.

GPT-2 keeps `n_inner: null` and makes its layers `4 * n_embd` wide: only a shape tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ckptdoctor.expected.blueprint import starred

from .derive import Row
from .fit import Env
from .observe import observe


def effective(name: str, key: str, rows: Sequence[Row], config: dict[str, Any]) -> int | None:
    """Read the value of `key` off the shapes that `config` leads to; None where none shows it."""
    telling = [
        (row, place, factors)
        for row in rows
        for place, dim in enumerate(row.dims)
        if (factors := _factors(dim)).count(key) == 1
    ]
    stacks = [row.template for row in rows if row.over[:1] == [key]]
    if not telling and not stacks:
        return None
    seen = observe(name, config)
    if stacks:
        found = [index[0] for template, index in map(starred, seen.released) if template == stacks[0]]
        return max(found) + 1 if found else None
    shapes = {starred(tensor)[0]: shape for tensor, shape in seen.released.items()}
    for row, place, factors in telling:
        shape = shapes.get(starred(row.template)[0])
        others = [seen.env.get(f, f) if isinstance(f, str) else f for f in factors if f != key]
        if shape is None or not _holds(row, seen.env) or not all(type(f) is int and f > 0 for f in others):
            continue
        if shape[place] % prod(others) == 0:
            return shape[place] // prod(others)
    return None


def _factors(dim: str) -> list[int | str]:
    """The factors of a plain product, none for any other formula."""
    if "+" in dim or "/" in dim or "?" in dim:
        return []
    return [int(part) if part.isdigit() else part for part in dim.split("*")]


def _holds(row: Row, env: Env) -> bool:
    return all(
        (env.get(key) != wanted["not"]) if isinstance(wanted, dict) else env.get(key) == wanted
        for key, wanted in row.when.items()
    )
