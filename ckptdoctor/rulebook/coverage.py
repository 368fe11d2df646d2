"""rules/COVERAGE.md: which public failure is found by which rule, generated from the cards and rules/failures.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """# Coverage

Real failures from public threads, and the rules that find them. Each rule reproduces its failures in its own examples
(`examples:` in the card), which are tests. Generated from the cards and from `failures.yaml`; do not edit.

| id | reported in | found by | examples |
|---|---|---|---|
"""


def render(cards: Mapping[str, Mapping[str, Any]], failures: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table; a failure that neither a card names nor a reason excuses is an error (ValueError)."""
    by_failure: dict[str, list[str]] = {}
    for rule, card in sorted(cards.items()):
        for name in card.get("failures") or ():
            by_failure.setdefault(name, []).append(rule)
    lines = []
    for name, failure in failures.items():
        rules = by_failure.get(name, [])
        if not rules and not failure.get("reason"):
            raise ValueError(f"{name}: no card names this failure, and failures.yaml gives no reason")
        repository, _, number = failure["thread"].partition("#")
        link = f"[{failure['thread']}](https://github.com/{repository}/issues/{number})"
        found = ", ".join(f"[{rule}]({rule}.yaml)" for rule in rules) or f"not found: {failure['reason']}"
        count = sum(len(cards[rule]["examples"]["bad"]) for rule in rules)
        lines.append(f"| {name} | {link} | {found} | {count or ''} |")
    covered = sum(1 for name in failures if name in by_failure)
    return _HEAD + "\n".join(lines) + f"\n\n{covered} of {len(failures)} found.\n"
