"""explain against what people pasted into public threads: the rule that finds their accident comes first."""

from __future__ import annotations

from typing import Any

import yaml

from tests.conftest import ROOT
from tests.support.shipped import RULEBOOK, explain

THREADS: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests" / "cli" / "threads.yaml").read_text(encoding="utf-8")
)
FAILURES: dict[str, dict[str, str]] = yaml.safe_load(
    (ROOT / "rules" / "failures.yaml").read_text(encoding="utf-8")
)
FOUND_BY: dict[str, set[str]] = {}
for _card in RULEBOOK.cards:
    for _failure in RULEBOOK.prose(_card.id).get("failures", ()):
        FOUND_BY.setdefault(_failure, set()).add(_card.id)


def right(thread: dict[str, Any]) -> set[str]:
    """The rules of which one must come first, none where no rule finds the accident yet."""
    return set(thread.get("rules", ())).union(*(FOUND_BY.get(name, set()) for name in thread.get("of", ())))


ANSWERED = [thread for thread in THREADS if right(thread)]


BAR = 0.95
SILENT = {
    "no loader raises or prints anything": "B11 D02 D04 F01 G04 I01 I04 I14 N17 Q06 Q07 Q10 Q18 T03 T04 T11 T12",
    "the thread describes it and quotes no text": "B02 C09 D03 F10 F14 G05 G11 G12 I03 I06 I08 I15 N05 N06 P12 Q03",
    "its text is another failure's, whose cause it shares": "B08 Q04",
}
"""Failures with a rule and no text of their own, by reason."""


def misses() -> list[str]:
    """Each text whose cause does not come first, with what does."""
    told = []
    for thread in ANSWERED:
        candidates = explain(thread["text"])
        first = candidates[0].rule if candidates and candidates[0].exact else ""
        if first not in right(thread):
            told.append(f"{first or 'nothing'} for {sorted(right(thread))}: {thread['text'][:120]}")
    return told


def test_the_cause_comes_first() -> None:
    wrong = misses()
    assert len(wrong) <= (1 - BAR) * len(ANSWERED), "\n".join(wrong)


def test_every_failure_with_a_rule_and_a_text_is_asked_about() -> None:
    """What raises has its text here; what only answers wrong, or is told by other tools, is listed with its reason."""
    asked = {name for thread in THREADS for name in thread.get("of", ())}
    silent = {name for names in SILENT.values() for name in names.split()}
    assert FOUND_BY.keys() - asked == silent


def test_there_are_enough_of_them_and_they_name_what_exists() -> None:
    assert len(ANSWERED) >= 100
    assert {name for thread in THREADS for name in thread.get("of", ())} <= FAILURES.keys() | FOUND_BY.keys()
    known = {card.id for card in RULEBOOK.cards}
    assert {rule for thread in THREADS for rule in thread.get("rules", ())} <= known
