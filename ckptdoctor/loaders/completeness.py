"""What a loader does about tensors the architecture expects and the files lack, hold in excess, or hold misshapen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..checkpoint.comparison import Missing
from ..model import MAX_LOCATIONS, Location, Outcome
from .base import Event
from .modules import Architecture

_FEW = 0.05
"""Below this share of expected tensors the names follow another scheme altogether."""


def tensor_events(
    known: Architecture,
    of_missing: Callable[[Missing], Outcome],
    *,
    unexpected: Callable[[str], Outcome],
    bare: Outcome,
) -> Iterator[Event]:
    """Yield what the loader does about each difference between the files and the architecture.

    ``of_missing`` gives the outcome of missing tensors of one template, ``unexpected`` of a tensor template it has no
    place for, ``bare`` of names that lack the base model's prefix.
    """
    found = known.comparison
    if found is None or not found.expected:
        return
    if found.matched < _FEW and found.expected > 1:
        yield Event("foreign-names", "unknown" if found.matched else of_missing(_all(known)), {}, (Location(""),))
        return
    for row in found.missing:
        yield Event(
            "missing-tensor",
            of_missing(row),
            {"kind": row.kind},
            tuple(Location("", tensor=name) for name, _ in zip(row.names, range(MAX_LOCATIONS), strict=False)),
            row.template,
            len(row.indices),
        )
    for extra in found.unexpected:
        yield Event("unexpected-tensor", unexpected(extra.template), {}, (), extra.template, extra.total)
    for wrong in found.mismatched:
        yield Event(
            "shape-mismatch",
            "fails",
            {"expected": wrong.expected, "got": wrong.got, "formula": wrong.formula},
            (Location("", tensor=wrong.name),),
            wrong.template,
            wrong.total,
        )
    if found.bare:
        yield Event("bare-names", bare, {}, ())


def _all(known: Architecture) -> Missing:
    return Missing("", ((),), "linear")
