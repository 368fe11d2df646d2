"""Report → text for people and machines: pure functions. A format is one file and one line in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, cast

from ..model import Finding, Report

FORMATS: dict[str, str] = {
    "text": "text",
    "json": "json",
    "sarif": "sarif",
    "github": "github",
    "markdown": "markdown",
}
"""Format → the module of this package that offers ``render(reports, page) -> str`` for it."""


def _no_prose(rule: str) -> Mapping[str, object]:
    return {}


class Page(NamedTuple):
    """How to write: the paper, not the words."""

    width: int = 100
    color: bool = False
    unicode: bool = True
    """The output can take ``✓`` and ``…``; else ASCII stands in."""
    verbose: bool = False
    seconds: float | None = None
    """Wall time of the run, when it is to be told."""
    prose: Callable[[str], Mapping[str, object]] = _no_prose
    """Rule id → prose of its card (``summary``, ``why``, ``how_to_fix``, …), empty when unknown."""
    below: str = ""
    """The directory that several checkpoints were found under, else empty."""
    base: str = ""
    """The directory that relative paths start from, for formats that name files to other tools."""

    def advice(self, finding: Finding) -> str:
        """Return what to do about ``finding``: what a fix does, else the card's words and the command to type."""
        fix = finding.fix
        if fix is not None and fix.safety != "manual" and fix.title:
            return fix.title
        words = str(self.prose(finding.rule).get("how_to_fix") or "").strip()
        return f"{words} {fix.title}".strip() if fix is not None else words


def render(name: str, reports: Sequence[Report], page: Page) -> str:
    """Return ``reports`` in format ``name`` (a key of ``FORMATS``), ending in a line break."""
    module = import_module(f".{FORMATS[name]}", __name__)
    return cast("Callable[[Sequence[Report], Page], str]", module.render)(reports, page)
