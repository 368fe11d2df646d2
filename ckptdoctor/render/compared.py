"""Two checkpoints of one model, compared (``load --compare``): a page, JSON (``compare.schema.json``), a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .._version import __version__
from ..probe.comparing import THRESHOLDS, Likeness, Model, Speed, Word
from . import Page
from .layout import Line, Segment, hang, paint, seg, table
from .safe import clean, dumps

_GLYPH = {"alike": ("✓", "ok"), "worse": ("≠", "warn"), "damaged": ("✗", "bad")}
_LABEL = 26
_WIDE, _HIGH, _EDGE = 720, 240, 40
"""The picture, in pixels."""


class Comparison(NamedTuple):
    """What is told."""

    checkpoint: str
    """As the user typed it."""
    reference: str
    loader: str
    device: str
    found: Likeness
    word: Word
    reason: str


def as_text(told: Comparison, page: Page) -> str:
    """Return the page."""
    found = told.found
    glyph, style = _GLYPH[told.word]
    lines: list[Line] = [
        [seg(told.checkpoint, "strong"), Segment("  beside "), seg(told.reference, "strong")],
        [seg(f"in {told.loader} on {told.device}", "dim")],
        [],
        *hang([Segment(f"  {glyph} ", style), Segment(told.word, style), Segment("  ")], told.reason, page),
        [],
    ]
    tokens = "tokens" if found.tokenizer else "bytes, as there is no tokenizer"
    largest = "" if found.kl_largest is None else f", {found.kl_largest:.3g} at most"
    lines += hang(_label("Compared"), f"{found.positions:,} {tokens}", page)
    lines += hang(_label("Same likeliest token"), f"{found.top1:.1%}", page)
    lines += hang(_label("KL divergence"), f"{_shown(found.kl)} nats{largest}", page)
    same = ", ".join(f"{part:.0%}" for part in found.greedy)
    lines += hang(_label("Greedy text is the same for"), same, page)
    return paint([*lines, [], *_table(found)], page)


def _table(found: Likeness) -> list[Line]:
    both = (found.reference, found.checkpoint)
    told = {
        "Perplexity": [_shown(model.perplexity) for model in both],
        "Time to first token": [_timed(model.first_token_s, 1000, "ms") for model in both],
        "Tokens a second": [_timed(model.tokens_per_s, 1, "") for model in both],
    }
    rows = [[Segment(""), Segment("reference", "dim"), Segment("checkpoint", "dim")]]
    rows += [[Segment(name, "dim"), *map(seg, values)] for name, values in told.items()]
    return table(rows, "   ")


def _timed(speed: Speed, factor: float, unit: str) -> str:
    """Return the median with the range of all measurements: on a busy machine the range is what tells."""
    low, high = (f"{value * factor:.3g}" for value in (min(speed.values), max(speed.values)))
    return f"{speed.middle * factor:.3g} {unit}".strip() + f" ({low} – {high})"


def _shown(value: float | None) -> str:
    return "no number" if value is None else f"{value:.3g}"


def _label(text: str) -> Line:
    return [Segment("  "), Segment(f"{text:<{_LABEL}}  ", "dim")]


def as_json(told: Comparison) -> str:
    """Return the comparison as JSON text."""
    found = told.found
    value = {
        "schema": 1,
        "tool": f"ckptdoctor {__version__}",
        "checkpoint": told.checkpoint,
        "reference": told.reference,
        "loader": told.loader,
        "device": told.device,
        "verdict": told.word,
        "reason": told.reason,
        "thresholds": [limit._asdict() for limit in THRESHOLDS],
        "tokenizer": found.tokenizer,
        "positions": found.positions,
        "top1": found.top1,
        "kl": {"mean": found.kl, "largest": found.kl_largest, "each": list(found.kl_each)},
        "greedy": list(found.greedy),
        "models": {"reference": _model(found.reference), "checkpoint": _model(found.checkpoint)},
    }
    return dumps(value)


def _model(model: Model) -> dict[str, object]:
    return {
        "perplexity": model.perplexity,
        "finite": model.finite,
        "first_token_s": list(model.first_token_s.values),
        "tokens_per_s": list(model.tokens_per_s.values),
    }


def as_svg(told: Comparison) -> str:
    """Return a picture of the divergence at every token, with its mean; no number leaves a gap."""
    values = told.found.kl_each
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    inner_wide, inner_high = _WIDE - 2 * _EDGE, _HIGH - 2 * _EDGE
    step = inner_wide / max(1, len(values))
    bars = "".join(
        f'<rect x="{_EDGE + place * step:.2f}" y="{_HIGH - _EDGE - inner_high * value / top:.2f}" '
        f'width="{max(step * 0.8, 0.5):.2f}" height="{inner_high * value / top:.2f}"/>'
        for place, value in enumerate(values)
        if value is not None and value > 0
    )
    title = escape(clean(f"{told.checkpoint} beside {told.reference}: {told.word}"))
    return _page(title, bars, _marks(top, told.found.kl, inner_high))


def _marks(top: float, mean: float | None, high: int) -> Sequence[str]:
    """Return the axis and the line of the mean."""
    bottom = _HIGH - _EDGE
    marks = [
        f'<path d="M{_EDGE} {_EDGE}V{bottom}H{_WIDE - _EDGE}" fill="none" stroke="#555"/>',
        f'<text x="{_EDGE - 4}" y="{_EDGE + 4}" text-anchor="end">{top:.2g}</text>',
        f'<text x="{_EDGE - 4}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_WIDE / 2}" y="{_HIGH - 12}" text-anchor="middle">token</text>',
    ]
    if mean is not None:
        y = bottom - high * mean / top
        marks.append(f'<path d="M{_EDGE} {y:.2f}H{_WIDE - _EDGE}" stroke="#c33" stroke-dasharray="4 3"/>')
        marks.append(
            f'<text x="{_WIDE - _EDGE}" y="{y - 4:.2f}" text-anchor="end" fill="#c33">mean {mean:.3g}</text>'
        )
    return marks


def _page(title: str, bars: str, marks: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif" '
        f'font-size="11"><title>{title}</title><rect width="{_WIDE}" height="{_HIGH}" fill="#fff"/>'
        f'<text x="{_EDGE}" y="20">KL divergence of the next token (nats) · {title}</text>'
        f'<g fill="#36c">{bars}</g>{"".join(marks)}</svg>\n'
    )
