"""Which finding follows from which: one cause is told once, with all that comes of it inside."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from ..model import Finding

Scopes = Mapping[str, Container[str] | None]
"""Fingerprint of a finding → the tensors it can account for, None where its subject tells."""


def causes(found: Sequence[Finding], rules: Mapping[str, Sequence[str]], scopes: Scopes) -> dict[str, str]:
    """Return the fingerprint of every finding → that of the cause it is told with, its own where it is a cause.

    ``rules``: fingerprint → the rules whose findings it may follow from (``yields_to`` of its card). What is left and
    differs from another finding in nothing but the name of its module has the same cause: one stands for them all.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in found:
        by_rule.setdefault(finding.rule, []).append(finding)
    parent: dict[str, str] = {}
    for finding in found:
        named = (cause for rule in rules[finding.fingerprint] for cause in by_rule.get(rule, ()))
        first = next((cause for cause in named if _follows(finding, cause, scopes)), None)
        if first is not None:
            parent[finding.fingerprint] = first.fingerprint
    parent |= _alike([finding for finding in found if finding.fingerprint not in parent])
    return {finding.fingerprint: _root(finding.fingerprint, parent) for finding in found}


def _follows(finding: Finding, cause: Finding, scopes: Scopes) -> bool:
    """Whether ``finding`` lies where ``cause`` does harm: in one of its tensors, else in or below its subject."""
    if cause.fingerprint == finding.fingerprint:
        return False
    scope = scopes[cause.fingerprint]
    if scope is not None:
        tensors = [place.tensor for place in finding.locations if place.tensor]
        return bool(tensors) and all(tensor in scope for tensor in tensors)
    return cause.subject in ("", finding.subject) or finding.subject.startswith(f"{cause.subject}.")


def _alike(found: Sequence[Finding]) -> dict[str, str]:
    """Return the fingerprints of findings that another one stands for: same rule, severity and facts, more victims."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in found:
        if finding.subject:
            facts = tuple(sorted(finding.facts.items()))
            groups.setdefault((finding.rule, finding.severity, *facts), []).append(finding)
    told: dict[str, str] = {}
    for group in groups.values():
        first = max(group, key=lambda finding: finding.count)
        told |= {item.fingerprint: first.fingerprint for item in group if item is not first}
    return told


def _root(key: str, parent: Mapping[str, str]) -> str:
    """Return the end of a chain of causes; cards that name each other in a circle end at the first that repeats."""
    seen = {key}
    while key in parent and parent[key] not in seen:
        key = parent[key]
        seen.add(key)
    return key
