"""What one cause does in one reading, and how severe a finding with such outcomes is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import ruledata
from ..loaders.base import Reading
from ..model import Evidence, Hit, LoaderOutcome, Outcome, Severity, Target, worst
from . import words

_SEVERITY: Mapping[Outcome, Severity] = {
    "fails": "error",
    "fails-late": "error",
    "corrupt": "error",
    "wrong-precision": "error",
    "unknown": "note",
}


def outcome(card: ruledata.Card, hit: Hit, reading: Reading, *, from_models: bool) -> LoaderOutcome | None:
    """Return what ``hit`` does to the target of ``reading``, None where it does not come into it.

    That is so for a policy (what a team asks for is no loader's business), for a file that this loader never opens,
    and where the check computes outcomes and has none for this target. ``from_models``: the hit is what models of
    loaders say, so that where the card has no rows for a loader, silence of its model claims nothing.
    """
    if card.kind == "policy" or not _opened(hit, reading):
        return None
    target = reading.target
    rows = card.outcomes.get(target.loader, card.outcomes.get("any", "computed" if from_models else None))
    found = _computed(card, hit, reading) if rows == "computed" else _stated(rows, hit, reading)
    if found is not None and card.foreign and target.origin == "assumed" and found.outcome != "ok":
        return found._replace(outcome="unknown")  # it is no fault of the checkpoint
    return found


def severity(card: ruledata.Card, outcomes: Sequence[LoaderOutcome], *, unread: bool) -> Severity | None:
    """Return the severity of a finding, None where nobody minds; ``unread``: no loader in scope opens its file."""
    if card.kind == "reading":
        return _SEVERITY.get(worst([item.outcome for item in outcomes]))
    if unread and card.severity == "error" and card.kind != "policy":
        return "warning"
    return card.severity


def worst_of_both(
    first: Sequence[LoaderOutcome], second: Sequence[LoaderOutcome], order: Mapping[str, int]
) -> tuple[LoaderOutcome, ...]:
    """Return for every target the worse outcome of two findings, sorted by ``order`` (target label → place)."""
    merged = {item.target.label: item for item in first}
    for item in second:
        known = merged.get(item.target.label)
        if known is None or worst([known.outcome, item.outcome]) != known.outcome:
            merged[item.target.label] = item
    return tuple(sorted(merged.values(), key=lambda item: order.get(item.target.label, 0)))


def _opened(hit: Hit, reading: Reading) -> bool:
    """Whether the loader opens one of the files a hit lies in; a hit without a place concerns them all."""
    places = [location.file for location in hit.at if location.file]
    return not places or any(file in reading.plan.files_read for file in places)


def _computed(card: ruledata.Card, hit: Hit, reading: Reading) -> LoaderOutcome | None:
    target = reading.target
    word = (hit.outcome or {}).get(target.label)
    if word is None:
        return None
    seen = target.version in card.observed.get(target.loader, ())
    return LoaderOutcome(target, word, (hit.error or {}).get(target.label), _evidence(seen, reading))


def _stated(rows: str | Sequence[ruledata.Row] | None, hit: Hit, reading: Reading) -> LoaderOutcome:
    """Return what the card's rows say: the first that fits, ``unknown`` where none does."""
    target: Target = reading.target
    row = ruledata.first_row(rows, target.version, hit.facts)
    if row is None:
        return LoaderOutcome(target, "unknown", None, "assumed")
    error = words.error(row.errors[0], words.of_hit(hit, hit.count, hit.at)) if row.errors else None
    return LoaderOutcome(target, row.outcome, error, _evidence(target.version in row.observed, reading))


def _evidence(seen: bool, reading: Reading) -> Evidence:
    return "observed" if seen else reading.evidence
