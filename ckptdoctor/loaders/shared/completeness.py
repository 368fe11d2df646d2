"""What a loader does about tensors the architecture expects and the files lack, hold in excess, or hold misshapen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...checkpoint.nouns import View
from ...expected.comparison import Comparison, Mismatch, Missing
from ...model import MAX_LOCATIONS, Location, Outcome, worst
from ..base import Event
from .modules import Architecture

_FEW = 0.1
"""Below this share of expected tensors the names follow another scheme altogether."""
_MOST = 0.8
_COMPONENT = 10
"""So many unexpected name templates under foreign top-level names are another model's component, kept on purpose."""
WRAPPERS = ("_orig_mod.", "module.", "base_model.model.", "language_model.")
"""Prefixes that torch.compile, DistributedDataParallel, PEFT and multimodal models put before every name inside."""


def tensor_events(
    view: View,
    known: Architecture,
    of_missing: Callable[[Missing], Outcome],
    *,
    unexpected: Callable[[str], Outcome],
    of_mismatch: Callable[[Mismatch], Outcome],
    bare: Outcome,
    doubled: Outcome,
    readable: bool,
) -> Iterator[Event]:
    """Yield what the loader does about each difference between the files and the architecture.

    ``of_missing`` gives the outcome of missing tensors of one template, ``unexpected`` of a tensor template it has no
    place for, ``of_mismatch`` of another shape than config.json leads to, ``bare`` of names that lack the base model's
    prefix, ``doubled`` of names that have it twice. Nothing is said unless every file is ``readable``.
    """
    found = known.comparison
    if found is None or not found.expected or not readable:
        return
    strangers = sum(row.total for row in found.unexpected)
    if found.matched < _FEW and found.expected > 1 and strangers >= found.found:
        wrapped = _wrapper(view)
        known_to_be = worst([of_missing(_EVERYTHING), unexpected("")])
        outcome = known_to_be if wrapped or not view.signatures else "unknown"
        yield Event("foreign-names", outcome, {"wrapped": wrapped}, (Location(""),))
        return
    yield from _missing(found, of_missing)
    foreign = _component(known)
    for extra in found.unexpected:
        if known.expected is not None and extra.template in known.expected.entries:
            # more layers than config.json counts: which of the two is right cannot be known from here
            outcome = worst([unexpected(extra.template), "unknown"])
            yield Event("unexpected-tensor", outcome, {}, (), extra.template, extra.total)
            continue
        outcome = unexpected(extra.template)
        outcome = "unknown" if outcome != "ok" and extra.template in foreign else outcome
        yield Event("unexpected-tensor", outcome, {}, (), extra.template, extra.total)
    for wrong in found.mismatched:
        yield Event(
            "shape-mismatch",
            of_mismatch(wrong),
            {"expected": wrong.expected, "got": wrong.got, "formula": wrong.formula},
            (Location("", tensor=wrong.name),),
            wrong.template,
            wrong.total,
        )
    if found.bare:
        yield Event("bare-names", bare, {}, ())
    if found.doubled:
        yield Event(
            "doubled-prefix", doubled, {"prefix": known.expected.prefix if known.expected else ""}, ()
        )


def _missing(found: Comparison, of_missing: Callable[[Missing], Outcome]) -> Iterator[Event]:
    """Yield an event for every template of which tensors are missing, or cannot be told from others."""
    for row in found.missing:
        yield Event(
            "missing-tensor",
            of_missing(row),
            {"kind": row.kind},
            tuple(
                Location("", tensor=name) for name, _ in zip(row.names, range(MAX_LOCATIONS), strict=False)
            ),
            row.template,
            len(row.indices),
        )
    for row in found.unclear:
        yield Event("missing-tensor", "unknown", {"kind": row.kind}, (), row.template, len(row.indices))


def _wrapper(view: View) -> str:
    """Return the wrapper that (nearly) every name is in, without its dot, "" when there is none."""
    for prefix in WRAPPERS:
        inside = sum(signature.template.startswith(prefix) for signature in view.signatures)
        if view.signatures and inside > _MOST * len(view.signatures):
            return prefix.rstrip(".")
    return ""


def _component(known: Architecture) -> frozenset[str]:
    """Return unexpected templates that look like a whole component of another model (a vision tower, say)."""
    if known.comparison is None or known.expected is None:
        return frozenset()
    own = {template.partition(".")[0] for template in known.expected.entries}
    foreign = [
        extra.template for extra in known.comparison.unexpected if extra.template.partition(".")[0] not in own
    ]
    return frozenset(foreign) if len(foreign) >= _COMPONENT else frozenset()


_EVERYTHING = Missing("", ((),), "linear")
