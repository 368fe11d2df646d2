"""The compiled rulebook as plain data: cards, loader facts, schemes. Standard library only, read in one go.

A wheel carries the compiled files (``ckptdoctor/_rulebook``). A source tree or an editable install compiles
``../rules`` once into a per-user cache, keyed by what the folder listing says, and reads that afterwards.
"""

from __future__ import annotations

from .cards import Card, Row, RulebookError, first_row
from .rulebook import Rulebook, rulebook_from
from .store import load
from .versions import Spec, holds, matches, parse_version

__all__ = [
    "Card",
    "Row",
    "Rulebook",
    "RulebookError",
    "Spec",
    "first_row",
    "holds",
    "load",
    "matches",
    "parse_version",
    "rulebook_from",
]
