"""What a loader model answers: which files are opened, how every signature is read, what happens on the way.

A model is a small simulation in Python (order and matching) over ``rules/loaders/<name>.yaml`` (intervals, methods,
releases, evidence). It says what happens as *events*; a card gives each event its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ..checkpoint.nouns import Checkpoint, Signature, View
from ..model import Evidence, Facts, Location, Outcome, Target


class Event(NamedTuple):
    """Something the loader does with a part of the checkpoint that its user would want to know."""

    code: str
    """What a card names by ``with: {event: …}``."""
    outcome: Outcome
    facts: Facts = {}
    at: tuple[Location, ...] = ()
    subject: str = ""
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    error: str | None = None
    """The text the loader raises."""
    evidence: Evidence = "source"


class Plan(NamedTuple):
    """What a loader opens, decided before any weight is read."""

    files: tuple[str, ...]
    """Weight files in the order they are read; empty when there are none to read."""
    files_read: frozenset[str]
    """Every file it opens, JSON included: a defect in any other file has no outcome here."""
    events: tuple[Event, ...] = ()
    method: str = ""
    """Quantisation method it settles on, "" for none."""
    unknown: str = ""
    """Why this model abstains altogether (then every outcome is ``unknown``), else empty."""
    needs: tuple[str, ...] = ()


class Reading(NamedTuple):
    """One target's view of one checkpoint."""

    target: Target
    plan: Plan
    held: Mapping[int, Mapping[str, Sequence[str]]]
    """Index of the signature in the view → scheme id the loader holds it at → its modules held so
    (absent: not loaded or not judged)."""
    events: tuple[Event, ...]
    """The plan's events and those of the reading."""
    evidence: Evidence = "source"
    tensor_parallel: tuple[int, ...] | None = None
    """Numbers of devices the loader can split this over, None where that is not known."""


class Loader(Protocol):
    """The model of one loader."""

    name: str

    def plan(self, ckpt: Checkpoint, target: Target, data: Mapping[str, object]) -> Plan:
        """Decide which files are opened and by which method."""
        ...

    def read(
        self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Mapping[str, object]
    ) -> Reading:
        """Say how every signature of ``view`` is read."""
        ...


__all__ = ["Checkpoint", "Event", "Loader", "Plan", "Reading", "Signature", "View"]
