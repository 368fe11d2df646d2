"""The simplest condition on configuration keys that explains when something is so.

Nothing is guessed: a rule must hold on all observations, and the caller checks the result on fresh ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

Env = dict[str, Any]
When = dict[str, Any]
Truth = tuple[bool, ...]
"""Whether a condition holds, one answer per observation."""

FEWEST = 5
"""Observations needed before a rule counts as explained."""


def atoms(envs: Sequence[Env]) -> dict[str, tuple[Any, Truth]]:
    """Equalities on keys that split the observations: text -> ((key, wanted), truth per observation)."""
    found: dict[str, tuple[Any, Truth]] = {}
    for key in envs[0]:
        for text, wanted, truth in _equalities([env.get(key) for env in envs]):
            found[key + text] = ((key, wanted), truth)
    return found


def _equalities(values: Sequence[Any]) -> Iterator[tuple[str, Any, Truth]]:
    """What one key may be held against: (text, wanted, truth per observation)."""
    if all(isinstance(v, (bool, str)) for v in values):
        words = sorted(set(values), key=lambda v: (v is not True, str(v)))
        for word in words if len(words) > 1 else ():
            yield f"={word}", word, tuple(v == word for v in values)
    elif all(type(v) is int for v in values):
        yield from _either("0", 0, tuple(v == 0 for v in values))
    else:
        yield from _either("null", None, tuple(v is None for v in values))


def _either(text: str, value: int | None, truth: Truth) -> Iterator[tuple[str, Any, Truth]]:
    """A value and its opposite, where some observations have the one and some the other."""
    if any(truth) and not all(truth):
        yield f"={text}", value, truth
        yield f"!={text}", {"not": value}, tuple(not holds for holds in truth)


def switches(envs: Sequence[Env]) -> list[list[tuple[When, list[int]]]]:
    """For each key that splits the observations: its conditions, with the places of the observations that meet it."""
    found: dict[str, list[tuple[When, list[int]]]] = {}
    for (key, wanted), truth in atoms(envs).values():
        found.setdefault(key, []).append(({key: wanted}, [p for p, holds in enumerate(truth) if holds]))
    return list(found.values())


def conditions(envs: Sequence[Env]) -> Iterator[tuple[When, Truth]]:
    """Conditions from the simplest: none, one equality, two."""
    yield {}, (True,) * len(envs)
    single = list(atoms(envs).values())
    for (key, wanted), truth in single:
        yield {key: wanted}, truth
    for ((k1, w1), t1), ((k2, w2), t2) in combinations(single, 2):
        if k1 != k2:
            yield {k1: w1, k2: w2}, tuple(a and b for a, b in zip(t1, t2, strict=True))


def presence(envs: Sequence[Env], present: Sequence[bool]) -> When | None:
    """The condition under which something is there, else None."""
    return next((when for when, truth in conditions(envs) if truth == tuple(present)), None)
