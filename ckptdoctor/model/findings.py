"""What a check yields and what becomes of it: hits, skips, crashes, findings."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from .edits import Fix
from .target import Target
from .words import Evidence, Facts, Outcome, Severity, SkipKind


class Location(NamedTuple):
    """Where in a checkpoint; symbolic (pointer or tensor) until the engine fills in line and column."""

    file: str
    pointer: str | None = None
    """JSON pointer (RFC 6901) into ``file``."""
    tensor: str | None = None
    line: int | None = None
    column: int | None = None
    note: str | None = None


class Hit(NamedTuple):
    """What a check yields: one cause, all its victims. It carries no words."""

    facts: Facts
    """Values for the card's message and ``when`` rows; part of the fingerprint, so no file or directory names
    unless the cause is that very name."""
    at: tuple[Location, ...] = ()
    """First places (at most ``MAX_LOCATIONS``)."""
    subject: str = ""
    """Name template (``model.layers.*.mlp.down_proj``) or ``""`` when the whole checkpoint is meant."""
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    outcome: Mapping[str, Outcome] | None = None
    """Target label → outcome, only for loaders whose card says ``computed``."""
    fix: Fix | None = None
    error: Mapping[str, str] | None = None
    """Target label → the loader's error text, where the loader model computed it."""
    accounts_for: Container[str] | None = None
    """The only tensors whose defects can follow from this cause; None where it is the names that ``subject`` covers."""


class Skip(NamedTuple):
    """A rule that could not be judged; only ``blind`` (bytes could not be had) weakens an ``ok``."""

    rule: str
    kind: SkipKind
    reason: str


class Crash(NamedTuple):
    """A rule that raised: a bug in ckptdoctor, reported and survived."""

    rule: str
    error: str


class LoaderOutcome(NamedTuple):
    """What a finding means for one target."""

    target: Target
    outcome: Outcome
    error: str | None
    evidence: Evidence


class Finding(NamedTuple):
    """A card × the hits of one cause."""

    rule: str
    severity: Severity
    message: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    locations: tuple[Location, ...]
    facts: Facts
    outcomes: tuple[LoaderOutcome, ...]
    fix: Fix | None
    fingerprint: str
    subject: str = ""
    consequences: tuple[Finding, ...] = ()
    """What follows from this cause, in full; a finding here has none of its own."""


class Suppressed(NamedTuple):
    """A finding that somebody knows and accepts: it is told, and decides neither exit code nor gate."""

    finding: Finding
    reason: str
    """Why, in the words of the settings file; ``in the baseline`` for what a baseline holds."""
