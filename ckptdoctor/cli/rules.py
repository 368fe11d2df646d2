"""``ckptdoctor rules``: what is checked, as a list, as JSON, or one rule in full."""

from __future__ import annotations

import sys

import click

from . import accepted, inputs
from .output import page_for, write


@click.command()
@click.argument("rule", metavar="[ID]", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--config", metavar="FILE", help="Settings file that names card directories of your own.")
def rules(rule: str | None, form: str, config: str | None) -> int:
    """List the rules, or show one in full."""
    from ..render.card import card_lines, list_lines
    from ..render.layout import paint
    from ..render.safe import dumps

    rulebook = accepted.configured(config)
    cards = rulebook.cards
    if rule is not None:
        found = inputs.rule(rule, rulebook)
        if found is None:
            raise inputs.unknown_rule(rule, rulebook)
        cards = tuple(card for card in cards if card.id == found)
    if form == "json":
        fields = ("id", "kind", "severity", "status", "check", "message")
        value = [
            {key: getattr(card, key) for key in fields} | dict(rulebook.prose(card.id)) for card in cards
        ]
        write(dumps(value if rule is None else value[0]), None)
        return 0
    page = page_for(sys.stdout, rulebook)
    if rule is None:
        lines = list_lines(cards, {card.id: rulebook.prose(card.id) for card in cards}, page)
    else:
        lines = card_lines(cards[0], rulebook.prose(cards[0].id), page)
    write(paint(lines, page), None, color=page.color)
    return 0
