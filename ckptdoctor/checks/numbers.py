"""Numbers in config.json that shapes contradict: the one number that many tensors were made with another value of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..expected.comparison import Mismatch
from ..loaders.shared.modules import architecture
from ..model import Facts, Hit, Location, Outcome, Skip, worst
from .base import Context, Params

_KEY = re.compile(r"[A-Za-z_][\w.]*")
_FEWEST = 2
"""Kinds of tensor that differ; of one alone the tensor may as well be at fault."""


class _Size(NamedTuple):
    """A dimension that differs: what config.json makes of it, and what is stored."""

    formula: str
    wanted: int
    got: int


def common(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if all shapes that differ have one key, or one product of keys, of config.json in common."""
    found = architecture(context.ckpt, context.view).comparison
    rows = found.mismatched if found else ()
    sizes = [_differing(row) for row in rows]
    key = _common(sizes) if len(rows) >= _FEWEST else ""
    if not key:
        return
    exact = {size for every in sizes for size in every if size.formula == key}
    if len(exact) != 1:
        return
    wanted, got = exact.pop()[1:]
    at = (Location("config.json", None if "*" in key else f"/{key.replace('.', '/')}"),)
    facts: Facts = {"key": key, "wanted": wanted, "got": got, "kinds": len(rows)}
    outcome = _outcomes(context, {row.template for row in rows})
    yield Hit(facts, at, outcome=outcome, accounts_for=frozenset(row.name for row in rows))


def _differing(row: Mismatch) -> list[_Size]:
    """Return the dimensions that differ, none where the numbers of dimensions do, or a formula is in words."""
    formulas = row.formula.split(" x ")
    if not len(formulas) == len(row.expected) == len(row.got):
        return []
    return [_Size(*size) for size in zip(formulas, row.expected, row.got, strict=True) if size[1] != size[2]]


def _common(sizes: Sequence[Sequence[_Size]]) -> str:
    """Return what every dimension that differs depends on: a key, else a whole formula; "" if several keys could."""
    flat = [size for every in sizes for size in every]
    if not all(sizes):
        return ""
    texts = {size.formula for size in flat}
    shared: set[str] = set.intersection(*(set(_KEY.findall(size.formula)) for size in flat))
    if len(shared) == 1:
        return shared.pop()
    return texts.pop() if len(texts) == 1 else ""


def _outcomes(context: Context, templates: set[str]) -> dict[str, Outcome]:
    """Return the worst that each loader says of the shapes of ``templates``."""
    told = {
        reading.target.label: [
            event.outcome
            for event in reading.events
            if event.code == "shape-mismatch" and event.subject in templates
        ]
        for reading in context.readings
    }
    return {label: worst(outcomes) for label, outcomes in told.items() if outcomes}
