"""The verdict table: what each loader makes of one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Target, Verdict
from . import Page
from .layout import OUTCOME_GLYPH, OUTCOME_STYLE, Line, Segment, columns, fold, pad, seg
from .safe import width

_BESIDE = 32
"""Columns the reason needs to stand beside its row; with fewer it goes below."""

_WHY = 2
"""Lines of reason per row: the findings below tell the rest."""

_EVIDENCE = {"observed": "known from a recorded run", "source": "known from its source", "assumed": "assumed"}


def verdict_lines(verdicts: Sequence[Verdict], page: Page) -> list[Line]:
    """Return the table, one row per target, with its plug-ins and why it is not ``ok``."""
    if not verdicts:
        return []
    rows = [_cells(verdict) for verdict in verdicts]
    widths = columns(rows)
    used = 2 + sum(widths) + 2 * len(widths) - 1
    beside = page.width - used >= _BESIDE and all(
        len(fold(_why(verdict, page), page.width - used)) <= _WHY for verdict in verdicts
    )
    indent, lines = used if beside else 6, []
    told: set[str] = set()
    for verdict, row in zip(verdicts, rows, strict=True):
        cells: Line = [Segment("  ")]
        for number, (cell, wide) in enumerate(zip(row, widths, strict=True)):
            cells += [pad(cell, wide), Segment("  " if number else " ")]
        first, *rest = [
            *_reason(verdict, page, page.width - indent, told),
            *_extras(verdict.target, page.width - indent),
        ] or [Segment("")]
        lines += [[*cells, first]] if beside else [cells, [Segment(" " * indent), first]]
        lines += [[Segment(" " * indent), more] for more in rest]
    return [line for line in lines if any(part.text.strip() for part in line)] + _footnote(verdicts, page)


def _cells(verdict: Verdict) -> Line:
    style, target = OUTCOME_STYLE[verdict.outcome], verdict.target
    mark = "*" if target.origin == "assumed" and target.version else ""
    return [
        seg(OUTCOME_GLYPH[verdict.outcome], style),
        seg(target.loader, "strong"),
        seg(target.version + mark),
        seg(verdict.outcome, style),
        seg(
            verdict.precision or ("" if verdict.outcome == "ok" else "–"), "" if verdict.precision else "dim"
        ),
    ]


def _why(verdict: Verdict, page: Page) -> str:
    parts = [verdict.reason or ("" if verdict.outcome == "ok" else ", ".join(verdict.because))]
    if verdict.needs:
        parts.append("needs " + ", ".join(verdict.needs))
    if verdict.sampled:
        parts.append("sampled")
    if page.verbose:
        if verdict.weights is not None:
            parts.append(f"{verdict.weights / 1e9:.2f} GB of weights on a device")
        if verdict.tensor_parallel:
            parts.append(f"splits over {', '.join(map(str, verdict.tensor_parallel))} devices")
        parts.append(_EVIDENCE[verdict.evidence])
    return "; ".join(part for part in parts if part)


def _reason(verdict: Verdict, page: Page, room: int, told: set[str]) -> Line:
    why = _why(verdict, page)
    if why and why in told:
        return [Segment("as above", "dim")]
    told.add(why)
    folded = fold(why, room)
    if len(folded) > _WHY and not page.verbose:
        last = folded[_WHY - 1]
        folded = [*folded[: _WHY - 1], (last if width(last) < room - 1 else last[:-2]) + " …"]
    return [Segment(text) for text in folded]


def _extras(target: Target, room: int) -> Line:
    """Return ``with vllm-bnb-plugin 0.0.3, tp=2``: what else the target was taken to have."""
    parts = [f"{name} {version}" for name, version in target.versions.items() if name != target.loader]
    parts += [f"{key}={str(value).lower()}" for key, value in target.options.items()]
    text = "with " + ", ".join(parts) if parts else ""
    if target.device != "any":
        text += f" on {target.device}"
    return [Segment(part, "dim") for part in fold(text, room)]


def _footnote(verdicts: Sequence[Verdict], page: Page) -> list[Line]:
    if not any(verdict.target.origin == "assumed" and verdict.target.version for verdict in verdicts):
        return []
    loader = next(v.target.loader for v in verdicts if v.target.origin == "assumed")
    text = f"* newest version known, not installed here; name yours with --for {loader}==X.Y"
    return [[Segment("    "), Segment(part, "dim")] for part in fold(text, page.width - 4)]
