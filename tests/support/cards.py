"""The examples of all cards, and what each of them must show. Shared by the card and the mutation tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.model import Finding, Report, Target, worst
from ckptdoctor.rulebook import files, recipe
from ckptdoctor.rulebook.book import Rules
from tests.support.shipped import check_source, load, parse_target

from ..conftest import ROOT

RULES = ROOT / "rules"
DEFAULT_TARGETS = ("transformers", "vllm", "unsloth")


class Example(NamedTuple):
    """One example of one card."""

    rule: str
    kind: str
    """``bad``, ``good``, or ``fixed``: a bad one after its fix, which must be as silent as a good one."""
    place: int
    recipe: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Name in the test run."""
        return f"{self.rule}-{self.kind}-{self.place}"


@lru_cache(maxsize=1)
def book() -> Rules:
    """Return all rule files, validated."""
    return files.read(RULES)


def examples(rule: str) -> Iterator[Example]:
    """Yield every example of a card."""
    parts = book().card(rule)["examples"]
    for kind in ("bad", "good"):
        for place, example in enumerate(parts[kind]):
            yield Example(rule, kind, place, example)
            if "fixed" in example:
                yield Example(rule, "fixed", place, recipe.patched(example, example["fixed"]))


def all_examples() -> list[Example]:
    """Return every example of every card."""
    return [example for rule in book().cards for example in examples(rule)]


target = cache(parse_target)
"""A target named in full is the same in every rulebook; parsing it takes half a millisecond."""


def targets(example: Example) -> dict[str, Target]:
    """Return the targets an example runs with, by the text that names them."""
    texts = [*example.recipe.get("for", ()), *example.recipe.get("outcomes", ())] or DEFAULT_TARGETS
    return {text: target(text) for text in texts}


def loaded(example: Example) -> Checkpoint:
    """Return the example's checkpoint, parsed, on its base where the recipe has one."""
    ckpt = load(recipe.build(example.recipe), metadata_only=example.recipe.get("metadata_only", False))
    if "base" in example.recipe:
        ckpt.base = load(recipe.build(example.recipe["base"]), metadata_only=True)
    return ckpt


def run(example: Example, select: bool = True) -> Report:
    """Check an example's checkpoint through the real engine, with only its own rule unless told otherwise."""
    return check_source(
        recipe.build(example.recipe),
        list({target.label: target for target in targets(example).values()}.values()),
        metadata_only=example.recipe.get("metadata_only", False),
        select=[example.rule] if select else (),
        base=recipe.build(example.recipe["base"]) if "base" in example.recipe else None,
    )


def problems(example: Example, report: Report) -> list[str]:
    """Return what the report shows otherwise than the example says; empty when it is as it must be."""
    found = [finding for finding in report.every_finding if finding.rule == example.rule]
    wrong = [f"crash in {crash.rule}: {crash.error}" for crash in report.crashes]
    messages = sorted(finding.message for finding in found)
    expected = sorted(example.recipe["expect"]) if example.kind == "bad" else []
    if messages != expected:
        wrong.append(f"messages: expected {expected}, got {messages}")
    if example.kind == "bad":
        wrong += _outcomes(example, found)
        offered = any(finding.fix is not None and finding.fix.edits for finding in found)
        if offered is not ("fixed" in example.recipe):
            wrong.append(
                f"fix: {'edits, and no fixed example' if offered else 'no edits for the fixed example'}"
            )
    return wrong


def _outcomes(example: Example, found: list[Finding]) -> Iterator[str]:
    for text, expected in example.recipe.get("outcomes", {}).items():
        label = target(text).label
        words = [o.outcome for finding in found for o in finding.outcomes if o.target.label == label]
        got = worst(words) if words else "no outcome"
        if got != expected:
            yield f"{text}: expected {expected}, got {got}"
