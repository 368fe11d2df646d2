"""Rules for people: one card as a page, all of them as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model.words import amount
from ..ruledata import Card, Row, Spec
from . import Page
from .layout import (
    OUTCOME_GLYPH,
    OUTCOME_STYLE,
    SEVERITY_STYLE,
    Line,
    Segment,
    columns,
    flow,
    hang,
    pad,
    seg,
)


def card_lines(card: Card, prose: Mapping[str, object], page: Page) -> list[Line]:
    """Return everything a card says: what, why, how to fix, what each loader does, where to read on."""
    lines: list[Line] = [[seg(card.id, "rule"), Segment("  "), _weight(card)]]
    lines += hang([], str(prose.get("summary", "")), page, "strong")
    about = [card.status, f"since {prose.get('since', '?')}"] + (["fixable"] if prose.get("fixable") else [])
    lines += [*flow([], [[Segment(text, "dim")] for text in about], page), []]
    lines += _prose("why", [str(prose.get("why", ""))], page)
    lines += _prose("fix", [str(prose.get("how_to_fix", ""))], page)
    if prose.get("fixable"):
        lines += [[*_label(""), Segment("ckptdoctor fix", "strong"), Segment(" does this", "dim")]]
    lines += _outcomes(card, page)
    lines += _prose("says", _texts(prose, "errors"), page)
    links = _texts(prose, "references")  # never wrapped: a link that is cut cannot be followed
    return lines + [[*_label("" if number else "see"), seg(link)] for number, link in enumerate(links)]


def list_lines(cards: Sequence[Card], prose: Mapping[str, Mapping[str, object]], page: Page) -> list[Line]:
    """Return one row per rule, family by family."""
    lines: list[Line] = []
    width = max((len(card.id) for card in cards), default=0)
    family = ""
    for card in sorted(cards, key=lambda card: card.id):
        if (found := card.id.split("/")[0]) != family:
            family = found
            lines += [[], [Segment(family, "strong")]] if lines else [[Segment(family, "strong")]]
        about = prose.get(card.id, {})
        label = [
            Segment("  "),
            pad(_weight(card), 8),
            Segment(" "),
            pad(seg(card.id, "rule"), width),
            Segment("  "),
        ]
        tail = " (fixable)" if about.get("fixable") else ""
        if page.width - width - 13 >= 30:
            lines += hang(label, f"{about.get('summary', '')}{tail}", page)
        else:
            lines += [label, *hang([Segment(" " * 11)], f"{about.get('summary', '')}{tail}", page)]
    return [
        *lines,
        [],
        [Segment(f"{amount(len(cards), 'rule')}; ckptdoctor rules ID shows one in full.", "dim")],
    ]


def _weight(card: Card) -> Segment:
    """Return the severity, or ``depends`` where only the loader decides it."""
    return (
        Segment("depends", "corrupt")
        if card.kind == "reading"
        else Segment(card.severity, SEVERITY_STYLE[card.severity])
    )


def _label(text: str) -> Line:
    return [Segment(f"  {text:<6}", "dim")]


def _prose(label: str, texts: Sequence[str], page: Page) -> list[Line]:
    lines: list[Line] = []
    for text in texts:
        if text:
            lines += hang(_label("" if lines else label), text, page)
    return [*lines, []] if lines and label == "why" else lines


def _texts(prose: Mapping[str, object], key: str) -> list[str]:
    value = prose.get(key)
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def _outcomes(card: Card, page: Page) -> list[Line]:
    cells: list[Line] = []
    notes: list[str] = []
    for loader, rows in card.outcomes.items():
        name = (
            "others"
            if loader == "any" and len(card.outcomes) > 1
            else "any loader"
            if loader == "any"
            else loader
        )
        if isinstance(rows, str):
            seen = ", ".join(card.observed.get(loader, ()))
            cells.append([seg("?", "info"), seg(name), seg(""), seg("depends", "info")])
            notes.append("worked out for each checkpoint" + (f"; seen in {seen}" if seen else ""))
            continue
        for row in rows:
            style = OUTCOME_STYLE[row.outcome]
            cells.append(
                [
                    seg(OUTCOME_GLYPH[row.outcome], style),
                    seg(name),
                    seg(spec_text(row.versions)),
                    seg(row.outcome, style),
                ]
            )
            notes.append(_note(row))
            name = ""
    if not cells:
        return []
    widths = columns(cells)
    lines: list[Line] = [[]]
    for cell, note in zip(cells, notes, strict=True):
        line: Line = [Segment("  ")]
        for item, wide in zip(cell, widths, strict=True):
            line += [pad(item, wide), Segment("  " if wide > 1 else " ")]
        lines += (
            hang(line, note, page, "dim", indent=min(sum(widths) + 9, page.width - 24)) if note else [line]
        )
    return [*lines, []]


def _note(row: Row) -> str:
    parts = ["when " + ", ".join(f"{key} is {value}" for key, value in row.when.items())] if row.when else []
    parts += [" or ".join(row.errors)] if row.errors else []
    return "; ".join(parts + (["seen in " + ", ".join(row.observed)] if row.observed else []))


def spec_text(spec: Spec) -> str:
    """Return ``>=0.8.5,<0.28`` (empty for every version)."""
    return ",".join(sign + ".".join(map(str, bound)) for sign, bound in spec)
