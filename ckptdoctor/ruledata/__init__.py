"""The compiled rulebook as plain data: cards, loader facts, schemes. Standard library only, read in one go.

A wheel carries the compiled files (``ckptdoctor/_rulebook``). A source tree or an editable install compiles
``../rules`` once into a per-user cache, keyed by what the folder listing says, and reads that afterwards.
"""

from __future__ import annotations

from .cards import Card, Row, Rulebook, RulebookError, first_row, rulebook_from
from .store import architecture, card_schema, class_of, cold, environment, load, patterns, using
from .versions import Spec, holds, matches, parse_version

__all__ = [
    "Card",
    "Row",
    "Rulebook",
    "RulebookError",
    "Spec",
    "architecture",
    "card_schema",
    "class_of",
    "cold",
    "environment",
    "first_row",
    "holds",
    "load",
    "matches",
    "parse_version",
    "patterns",
    "rulebook_from",
    "using",
]
