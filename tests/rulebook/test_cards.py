"""Every example of every card, through the real engine; and what only examples can show of a card."""

from __future__ import annotations

from importlib import import_module

import pytest

from ckptdoctor.rulebook.patterns import PLACEHOLDER

from ..support import cards

GIVEN = {"subject", "module", "tensor", "file", "count"}
"""What the engine offers every message beside the facts."""


@pytest.mark.parametrize("example", cards.all_examples(), ids=lambda example: example.id)
def test_example(example: cards.Example) -> None:
    wrong = cards.problems(example, cards.run(example))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rule", cards.book().cards)
def test_check_exists(rule: str) -> None:
    module, name = cards.book().card(rule)["check"].split(".")
    assert callable(getattr(import_module(f"ckptdoctor.checks.{module}"), name))


@pytest.mark.parametrize("rule", cards.book().cards)
def test_names_are_facts(rule: str) -> None:
    """Placeholders of the message and of the fix, and keys of ``when`` are facts that the examples show."""
    card = cards.book().card(rule)
    facts: set[str] = set()
    for example in cards.examples(rule):
        facts |= {name for finding in cards.run(example).findings for name in finding.facts}
    fix = card.get("fix", {})
    for text in (card["message"], fix.get("title", ""), fix.get("command", "")):
        given = GIVEN | {"checkpoint", "out"} if text == fix.get("command") else GIVEN
        unknown = set(PLACEHOLDER.findall(text)) - facts - given
        assert not unknown, f"{text!r} names {unknown}; facts are {sorted(facts)}"
    rows = [row for rows in card.get("outcomes", {}).values() if isinstance(rows, list) for row in rows]
    keys = {key for row in rows for key in row.get("when", {})} - facts
    assert not keys, f"when names {keys}; facts are {sorted(facts)}"


@pytest.mark.parametrize(
    "example", [e for e in cards.all_examples() if e.kind == "fixed"], ids=lambda e: e.id
)
def test_fixed_gives_no_new_finding(example: cards.Example) -> None:
    """The repaired checkpoint of an example has no finding that the broken one had not."""
    broken = example._replace(
        kind="bad", recipe=cards.book().card(example.rule)["examples"]["bad"][example.place]
    )
    before = {finding.rule for finding in cards.run(broken, select=False).findings}
    after = {finding.rule for finding in cards.run(example, select=False).findings}
    assert after <= before
