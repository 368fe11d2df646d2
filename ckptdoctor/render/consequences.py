"""What follows from a cause, in a few words: the same in further modules, and what other rules found because of it."""

from __future__ import annotations

from collections import Counter

from ..model import Finding

_NAMED = 3


def also(finding: Finding, limit: int | None = _NAMED) -> str:
    """Return the further modules in which the same was found, at most ``limit`` of them by name; "" for none."""
    same = [item.subject for item in finding.consequences if item.rule == finding.rule]
    if limit is None or len(same) <= limit + 1:
        return ", ".join(same)
    return f"{', '.join(same[:limit])} and {len(same) - limit:,} more kinds of tensor"


def follows(finding: Finding) -> str:
    """Return how much of other rules follows: ``10 more: structure/missing-linear ×7, …``; "" for nothing."""
    rules = Counter(item.rule for item in finding.consequences if item.rule != finding.rule)
    if not rules:
        return ""
    each = (f"{rule} ×{count:,}" if count > 1 else rule for rule, count in rules.most_common())
    return f"{sum(rules.values()):,} more that follow: {', '.join(each)}"


def in_words(finding: Finding) -> str:
    """Return both on one line, "" where nothing follows."""
    same = also(finding)
    return "; ".join(filter(None, (f"also {same}" if same else "", follows(finding))))
