"""What the loader models say happens, turned into hits: one per event and cause, merged over the targets."""

from __future__ import annotations

from collections.abc import Iterator

from ..loaders.base import Event
from ..model import MAX_LOCATIONS, Hit, Location, Outcome, Skip
from .base import Context, Params, from_models


@from_models
def events(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the events named ``event`` whose facts equal the other parameters."""
    wanted = {key: value for key, value in params.items() if key != "event"}
    cases: dict[tuple[object, ...], list[tuple[str, Event]]] = {}
    for reading in context.readings:
        for event in reading.events:
            if event.code == params["event"] and all(
                event.facts.get(key) == value for key, value in wanted.items()
            ):
                cause = (event.subject, *sorted(event.facts.items(), key=str))
                cases.setdefault(cause, []).append((reading.target.label, event))
    for told in cases.values():
        yield _hit(context, told)


def _hit(context: Context, told: list[tuple[str, Event]]) -> Hit:
    first = told[0][1]
    outcome: dict[str, Outcome] = {label: event.outcome for label, event in told}
    places = dict.fromkeys(_placed(context, place) for _, event in told for place in event.at)
    return Hit(
        facts=first.facts,
        at=tuple(places)[:MAX_LOCATIONS],
        subject=first.subject,
        count=max(event.count for _, event in told),
        outcome=outcome,
        error={label: event.error for label, event in told if event.error},
        accounts_for=first.accounts_for,
    )


def _placed(context: Context, place: Location) -> Location:
    """Fill in the file of a tensor when it is stored (a missing one has none)."""
    if place.file or not place.tensor:
        return place
    return place._replace(file=context.view.owner.get(place.tensor, ""))
