"""The rule files of a folder as one value."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import observed
from .document import Document


class Rules(NamedTuple):
    """All rule files by id: ``family/slug`` for cards, the file's stem for the rest."""

    cards: dict[str, Document]
    loaders: dict[str, Document]
    schemes: dict[str, Document]
    architectures: dict[str, Document]
    formats: dict[str, Document] = {}
    observed: observed.Shown = {}
    """What recorded runs have shown of the cards."""

    def card(self, rule: str) -> dict[str, Any]:
        """Return the card ``rule`` as written."""
        value: dict[str, Any] = self.cards[rule].value
        return value
