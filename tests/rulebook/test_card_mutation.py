"""Every datum of a card has a witness: change it, and one of the card's own examples must turn red."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from ckptdoctor import engine
from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.model import Target
from ckptdoctor.rulebook import compile
from ckptdoctor.ruledata import Card, rulebook_from
from tests.support.shipped import RULEBOOK

from ..support import cards, mutants

_ASSUMED = (
    "it changes what assumed targets are told, and an example always names its targets: test_foreign sees it"
)
ALLOWED: dict[str, str] = {
    **{
        f"{card['id']} card.foreign {change}": _ASSUMED
        for card in compile.hot(cards.book())["cards"]
        if card.get("foreign")
        for change in ("dropped", "changed (True)")
    },
    **{
        f"quant/{rule} card.decided_by {change}": "an example runs its own rule alone: test_agreement sees it"
        for rule in (
            "activation-scale",
            "packed-embedding",
            "declared-bits",
            "declared-group",
            "fused-differs",
            "listed-and-quantised",
            "not-in-block-list",
            "role-shape",
        )
        for change in ("dropped", "changed ('model')")
    },
    **{
        f"{card['id']} card.{name}": "an example runs its own rule alone: test_skip_lists and test_one_cause see it"
        for card in compile.hot(cards.book())["cards"]
        for name in (
            *(["yields_to dropped"] if card.get("yields_to") else []),
            *(
                f"yields_to[{place}] dropped ({cause!r})"
                for place, cause in enumerate(card.get("yields_to", ()))
            ),
        )
    },
}
"""Survivors that may live (rule, then the mutant's name), each with the reason why no example can see it."""


@cache
def hot() -> dict[str, Any]:
    """Return the compiled rulebook of the tree."""
    return compile.hot(cards.book())


@cache
def parsed(rule: str) -> list[tuple[cards.Example, Checkpoint, list[Target]]]:
    """Return the card's examples with their checkpoints, parsed once: no datum of a card changes parsing."""
    ready = []
    for example in cards.examples(rule):
        targets = {target.label: target for target in cards.targets(example).values()}
        ready.append((example, cards.loaded(example), list(targets.values())))
    return ready


def survives(card: Card) -> bool:
    """Whether every example of ``card`` is as green as with the card as written."""
    for example, ckpt, targets in parsed(card.id):
        if cards.problems(example, engine.examine(ckpt, targets, [card])):
            return False
    return True


@pytest.mark.parametrize("rule", cards.book().cards)
def test_every_datum_of_a_card_has_a_witness(rule: str) -> None:
    data = next(card for card in hot()["cards"] if card["id"] == rule)
    book = rulebook_from(hot(), RULEBOOK.read)
    [written] = [card for card in book.cards if card.id == rule]
    assert survives(written), "the examples are red before anything was changed: see test_cards"
    survivors = []
    for mutant in mutants.of_card(data, mutants.known_releases(book.loaders)):
        [card] = rulebook_from({**hot(), "cards": [mutant.data]}, RULEBOOK.read).cards
        if f"{rule} {mutant.name}" not in ALLOWED and survives(card):
            survivors.append(mutant.name)
    assert not survivors, f"{rule}: no example sees\n  " + "\n  ".join(survivors)


def test_allowed_survivors_exist() -> None:
    known = mutants.known_releases(hot()["loaders"])
    names = {f"{card['id']} {m.name}" for card in hot()["cards"] for m in mutants.of_card(card, known)}
    assert set(ALLOWED) <= names
