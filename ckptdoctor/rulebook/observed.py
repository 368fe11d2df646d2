"""``rules/observed.yaml``: the versions for which a recorded run shows a card's outcome, joined to the cards.

It is written from ``fixtures/observed`` by ``python -m tests.observe.shown``. A rule or row that a card no longer has
is passed over, so that the file can be written again; the tests hold that it is fresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .document import load

Shown = Mapping[str, Mapping[str, Mapping[str, list[str]]]]
"""Rule → loader → number of a row (from 1) or ``computed`` → versions."""
FILE = "observed.yaml"


def read(rules: Path) -> Shown:
    """Return the file's content, nothing for a rules folder without one (a test's)."""
    path = rules / FILE
    if not path.is_file():
        return {}
    value: Shown = load(path, f"{rules.name}/{FILE}").value or {}
    return value


def of_computed(shown: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Any]:
    """Return loader → versions for outcomes that a check computes."""
    return {loader: rows["computed"] for loader, rows in shown.items() if "computed" in rows}


def of_row(shown: Mapping[str, Mapping[str, list[str]]], loader: str, place: int) -> list[str]:
    """Return the versions that show the row at ``place`` (from 0)."""
    return list(shown.get(loader, {}).get(str(place + 1), ()))
