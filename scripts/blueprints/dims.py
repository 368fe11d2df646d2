"""Formulas for the shape of one tensor, and the switches that decide between several."""

from __future__ import annotations

from collections.abc import Sequence

from .conditions import Env, When, atoms, switches
from .formulas import Formulas

Shape = tuple[int, ...]
Variants = list[tuple[When, list[str]]]
"""Conditions that exclude each other, each with the formulas for a shape."""

_KNOWN: dict[tuple[int, ...], Formulas] = {}


def forget_formulas() -> None:
    """Drop the formulas kept for earlier observations, whose identities may be given to others."""
    _KNOWN.clear()


def variants(envs: Sequence[Env], shapes: Sequence[Shape]) -> Variants:
    """Formulas for a shape; where none fits all observations, one set per value of a switch."""
    whole = _formulas(envs, shapes, range(len(envs)))
    if whole is not None:
        return [({}, whole)]
    for cases in switches(envs):
        found = _each(envs, shapes, cases)
        if found is not None:
            return found
    return _by_two(envs, shapes) or [({}, ["?"])]


def _each(
    envs: Sequence[Env], shapes: Sequence[Shape], cases: Sequence[tuple[When, list[int]]]
) -> Variants | None:
    """Formulas for each of some cases; None where one of them has none."""
    found: Variants = []
    for when, places in cases:
        dims = _formulas(envs, shapes, places)
        if dims is None:
            return None
        found.append((when, dims))
    return found


def _by_two(envs: Sequence[Env], shapes: Sequence[Shape]) -> Variants | None:
    """One switch decides, and under one of its values a second one does."""
    for when, other, yes, no in _two_sides(envs):
        first = _formulas(envs, shapes, yes)
        if first is None:
            continue
        below = [envs[p] for p in no]
        shapes_below = [shapes[p] for p in no]
        for w2, o2, one, two in _two_sides(below):
            second = _each(below, shapes_below, [({**other, **w2}, one), ({**other, **o2}, two)])
            if second is not None:
                return [(when, first), *second]
    return None


def _two_sides(envs: Sequence[Env]) -> list[tuple[When, When, list[int], list[int]]]:
    """Every switch that is on or off: its condition, the opposite, and the places that meet each."""
    return [
        (
            {key: wanted},
            {key: not wanted},
            [p for p, holds in enumerate(truth) if holds],
            [p for p, holds in enumerate(truth) if not holds],
        )
        for (key, wanted), truth in atoms(envs).values()
        if isinstance(wanted, bool)
    ]


def _formulas(envs: Sequence[Env], shapes: Sequence[Shape], places: Sequence[int]) -> list[str] | None:
    chosen = [shapes[p] for p in places]
    if len({len(shape) for shape in chosen}) != 1:
        return None
    formulas = _formulas_over([envs[p] for p in places])
    dims = [formulas.find(tuple(column)) for column in zip(*chosen, strict=True)]
    return None if None in dims else [dim for dim in dims if dim is not None]


def _formulas_over(envs: Sequence[Env]) -> Formulas:
    """The formulas over some observations, worked out once while these are alive."""
    key = tuple(map(id, envs))
    if key not in _KNOWN:
        _KNOWN[key] = Formulas(envs)
    return _KNOWN[key]
