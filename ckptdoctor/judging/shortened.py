"""What a finding keeps of a text or list out of a checkpoint: enough to find it, never the 20 MB that may lie there."""

from __future__ import annotations

from ..model import Fact, Facts, Hit, Location

MAX_TEXT = 1_000
"""Characters of one text: no tensor has a longer name (``checkpoint.limits.MAX_NAME``)."""
MAX_ITEMS = 1_000
"""Items of one list."""


def hit(whole: Hit) -> Hit:
    """Return a hit with its texts cut."""
    error = {label: text(said) for label, said in (whole.error or {}).items()}
    return whole._replace(facts=facts(whole.facts), subject=text(whole.subject), error=error or whole.error)


def facts(whole: Facts) -> Facts:
    """Return facts with long texts and lists cut."""
    return {key: _fact(value) for key, value in whole.items()}


def location(place: Location) -> Location:
    """Return a location with the names in it cut; whoever needs them whole has looked it up before."""
    return place._replace(
        file=text(place.file),
        pointer=place.pointer and text(place.pointer),
        tensor=place.tensor and text(place.tensor),
        note=place.note and text(place.note),
    )


def text(whole: str) -> str:
    """Return a text that is not longer than ``MAX_TEXT``."""
    return whole if len(whole) <= MAX_TEXT else f"{whole[: MAX_TEXT - 1]}…"


def _fact(value: Fact) -> Fact:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        return tuple(text(item) if isinstance(item, str) else item for item in value[:MAX_ITEMS])
    return value
