"""rules/COVERAGE.md is generated, complete, and names only failures that are listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ckptdoctor.rulebook import coverage
from tests.conftest import ROOT

CARDS = {
    f"{path.parent.name}/{path.stem}": yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "rules").glob("*/*.yaml"))
    if path.parent.name not in ("schemes", "loaders", "architectures")
}
FAILURES = yaml.safe_load((ROOT / "rules/failures.yaml").read_text(encoding="utf-8"))


def test_the_table_is_fresh(generated: Callable[[Path, str], None]) -> None:
    generated(ROOT / "rules/COVERAGE.md", coverage.render(CARDS, FAILURES))


def test_a_failure_without_card_or_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="X01: no card names this failure"):
        coverage.render(CARDS, {"X01": {"thread": "a/b#1"}})


def test_a_card_that_finds_it_needs_no_reason() -> None:
    excused = [name for name, failure in FAILURES.items() if failure.get("reason")]
    named = {name for card in CARDS.values() for name in card.get("failures") or ()}
    assert sorted(named.intersection(excused)) == []
