"""What is sound for another loader is a note where nobody asked for this one, and an error where somebody did."""

from __future__ import annotations

from typing import Literal

import pytest

from ckptdoctor.model import Report, worst
from ckptdoctor.rulebook import recipe
from tests.support import cards
from tests.support.shipped import RULEBOOK, check_source

EXAMPLES = [
    example
    for card in RULEBOOK.cards
    if card.foreign
    for example in cards.examples(card.id)
    if example.kind == "bad"
]


def looked(example: cards.Example, origin: Literal["assumed", "requested"]) -> Report:
    targets = {target.label: target for target in cards.targets(example).values()}
    return check_source(
        recipe.build(example.recipe),
        [target._replace(origin=origin) for target in targets.values()],
        select=[example.rule],
        base=recipe.build(example.recipe["base"]) if "base" in example.recipe else None,
    )


def test_there_are_such_rules() -> None:
    rules = {example.rule for example in EXAMPLES}
    assert {"quant/mlx", "quant/method-refused", "config/model-type-unknown", "adapter/unsupported"} <= rules


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.rule} {example.place}")
def test_a_note_unless_asked_for(example: cards.Example) -> None:
    for finding in looked(example, "assumed").findings:
        assert finding.severity == "note", finding.message
    for finding in looked(example, "requested").findings:
        minded = worst([item.outcome for item in finding.outcomes]) not in ("ok", "unknown")
        assert (finding.severity == "error") is minded


def test_what_follows_from_it_is_no_fault_either() -> None:
    example = next(e for e in EXAMPLES if e.recipe.get("for") and e.rule == "adapter/unsupported")
    files = example.recipe["shards"]["adapter_model.safetensors"]["tensors"]
    files = {**files, "base_model.model.lm_head.weight": ["F32", [8, 64]]}
    changed = {**example.recipe, "shards": {"adapter_model.safetensors": {"tensors": files}}}
    targets = [target._replace(origin="assumed") for target in cards.targets(example).values()]
    report = check_source(recipe.build(changed), targets, select=["adapter/"])
    assert {finding.severity for finding in report.findings} == {"note"}
    assert {item.rule for finding in report.findings for item in finding.consequences} == {
        "adapter/unsupported-tensor"
    }
