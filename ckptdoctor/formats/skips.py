"""What a declaration leaves alone, as its own format writes it."""

from __future__ import annotations

from ..checkpoint.nouns import Declared, View
from ..skiplists import matching
from ..skiplists.matching import Matched
from . import registry


def matched(view: View, declared: Declared) -> Matched:
    """Match every entry of ``declared`` against the modules of ``view`` (once per view)."""
    return matching.matched(view, declared, registry.of(declared, view.rulebook).skips.get("keys", {}))
