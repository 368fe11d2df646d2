"""``ckptdoctor explain``: from a rule's id or what a loader printed to why it happens and how to fix it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..render import Page
from ..render.layout import Line, Segment, hang, paint, seg
from . import accepted, inputs
from .exits import NO_VERDICT, OK
from .output import page_for, write

if TYPE_CHECKING:
    from ..explain import Candidate
    from ..ruledata import Rulebook

_LIMIT = 4 * 1024 * 1024
"""Bytes read from stdin: a traceback, not an endless stream."""


@click.command(no_args_is_help=True, short_help="Explain a rule or an error message.")
@click.argument("text", metavar='RULE|"ERROR TEXT"|-')
@click.option("--config", metavar="FILE", help="Settings file that names card directories of your own.")
def explain(text: str, config: str | None) -> int:
    """Explain a rule or an error message; with - a whole traceback is read from stdin."""
    from ..explain import explain as candidates

    rulebook = accepted.configured(config)
    query = _stdin() if text == "-" else text
    found = candidates(query, rulebook)
    if not found and inputs.looks_like_rule(query.strip()):
        raise inputs.unknown_rule(query.strip(), rulebook)
    page = page_for(sys.stdout, rulebook)
    versions = [] if found and found[0].exact else _about_versions(query, rulebook, page)
    write(paint(versions or _lines(found, rulebook, page), page), None, color=page.color)
    return OK if found or versions else NO_VERDICT


def _about_versions(query: str, rulebook: Rulebook, page: Page) -> list[Line]:
    """Return what is known of a text that is no checkpoint's fault but that of packages installed side by side."""
    from ..environment import raised

    lines: list[Line] = []
    for relation in raised(query, rulebook):
        error = relation.error.replace("{minimum}", "…")
        lines += hang([Segment("Known from  ", "dim")], error, page, "dim", indent=2)
        what = f"{relation.package} and {relation.other} do not go together: {relation.why}"
        lines += [[], *hang([Segment("  ")], what, page)]
        lines += hang([Segment("  see  ", "dim")], " ".join(relation.references), page)
    if lines:
        lines += [
            [],
            *hang([], "`ckptdoctor env` looks at what is installed and says what to install.", page),
        ]
    return lines


def _stdin() -> str:
    return sys.stdin.buffer.read(_LIMIT).decode("utf-8", "replace")


def _lines(found: Sequence[Candidate], rulebook: Rulebook, page: Page) -> list[Line]:
    """Return the best candidate's card in full, then the others in a line each."""
    if not found:
        hint = "No rule knows this text. `ckptdoctor check CHECKPOINT` may still see the cause."
        return hang([], hint, page)
    best, *others = found
    lines: list[Line] = []
    if best.pattern:
        how = "Known from" if best.exact else "Nothing matches; closest is"
        who = f" ({best.loader})" if best.loader else ""
        lines = [*hang([Segment(f"{how}  ", "dim")], best.pattern + who, page, "dim", indent=2), []]
    lines += _card(best.rule, rulebook, page)
    if others:
        lines += [[], [Segment("Also possible" if best.pattern else "Also of that name", "strong")]]
    for other in others:
        lines += hang([Segment("  "), seg(other.rule, "rule"), Segment("  ")], other.summary, page, indent=4)
    return lines


def _card(rule: str, rulebook: Rulebook, page: Page) -> list[Line]:
    from ..render.card import card_lines

    card = next(card for card in rulebook.cards if card.id == rule)
    return card_lines(card, rulebook.prose(rule), page)
