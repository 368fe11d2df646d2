"""The words that are used everywhere: outcomes, severities, evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["fails", "fails-late", "corrupt", "wrong-precision", "unknown", "ok"]
Severity: TypeAlias = Literal["error", "warning", "note"]
Evidence: TypeAlias = Literal["observed", "source", "assumed"]
Origin: TypeAlias = Literal["requested", "installed", "assumed"]
SkipKind: TypeAlias = Literal["not-applicable", "abstained", "blind"]
Safety: TypeAlias = Literal["safe", "unsafe", "manual"]
Scalar: TypeAlias = str | int | float | bool | None
Fact: TypeAlias = Scalar | tuple[Scalar, ...]
Facts: TypeAlias = Mapping[str, Fact]

OUTCOMES: tuple[Outcome, ...] = ("fails", "fails-late", "corrupt", "wrong-precision", "unknown", "ok")
"""Outcome words, worst first: the verdict of a target is the first of these among its findings."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_LOCATIONS = 100

RANK: dict[str, int] = {word: rank for rank, word in enumerate(OUTCOMES)}
"""Outcome word → its place among them: the lower, the worse."""


def amount(count: int, noun: str) -> str:
    """Return ``1 error``, ``2 errors``, ``1,024 tensors``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the worst of ``outcomes`` (``ok`` when there are none)."""
    return min(outcomes, key=RANK.__getitem__, default="ok")
