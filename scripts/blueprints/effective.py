"""The number that the modules work with where a configuration class leaves a key at null.

GPT-2 keeps `n_inner: null` and makes its layers `4 * n_embd` wide: only a shape tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from ckptdoctor.expected.blueprint import starred

from .conditions import Env
from .derive import Row
from .observation import Shapes
from .observe import observe


def effective(name: str, key: str, rows: Sequence[Row], config: dict[str, Any]) -> int | None:
    """Read the value of `key` off the shapes that `config` leads to; None where none shows it."""
    telling = list(_telling(rows, key))
    stacks = [row.template for row in rows if row.over[:1] == [key]]
    if not telling and not stacks:
        return None
    seen = observe(name, config)
    if stacks:
        return _layers(seen.released, stacks[0])
    shapes = {starred(tensor)[0]: shape for tensor, shape in seen.released.items()}
    for row, place, factors in telling:
        shape = shapes.get(starred(row.template)[0])
        if shape is None or not _holds(row, seen.env):
            continue
        value = _quotient(shape[place], [seen.env.get(f, f) for f in factors if f != key])
        if value is not None:
            return value
    return None


def _telling(rows: Sequence[Row], key: str) -> Iterator[tuple[Row, int, list[int | str]]]:
    """The places in shapes that `key` decides alone or with factors: (row, dimension, factors)."""
    for row in rows:
        for place, dim in enumerate(row.dims):
            factors = _factors(dim)
            if factors.count(key) == 1:
                yield row, place, factors


def _layers(shapes: Shapes, stack: str) -> int | None:
    """How many layers have a tensor of the template `stack`."""
    found = [index[0] for template, index in map(starred, shapes) if template == stack]
    return max(found) + 1 if found else None


def _quotient(size: int, factors: Sequence[Any]) -> int | None:
    if all(type(f) is int and f > 0 for f in factors) and size % prod(factors) == 0:
        return size // prod(factors)
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
