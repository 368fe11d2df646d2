"""Several checkpoints at a glance: one row each, worst first."""

from __future__ import annotations

from collections.abc import Sequence

from ..folding import spans
from ..model import OUTCOMES, SEVERITIES, Outcome, Report, Verdict, worst
from ..model.words import amount
from . import Page
from .layout import (
    OUTCOME_GLYPH,
    OUTCOME_STYLE,
    SEVERITY_STYLE,
    Line,
    Segment,
    columns,
    pad,
    seg,
)
from .safe import clean, elide

_NAME = 16
"""Columns a checkpoint's name gets at least."""

_SOUND = 20
"""Sound checkpoints listed one by one; more are only counted (all with --verbose)."""


def troubled(report: Report) -> bool:
    """Tell whether ``report`` deserves a page of its own among many."""
    blind = any(skip.kind == "blind" for skip in report.skips)
    return (
        bool(report.nothing or report.crashes) or blind or any(f.severity == "error" for f in report.findings)
    )


def overview_lines(reports: Sequence[Report], page: Page) -> list[Line]:
    """Return the table of all ``reports``."""
    title = amount(len(reports), "checkpoint") + (f" below {clean(page.below)}" if page.below else "")
    ordered = sorted(reports, key=_rank)
    sound = [report for report in ordered if _rank(report) == (1, len(OUTCOMES) - 1, len(SEVERITIES))]
    hidden = 0 if page.verbose or len(sound) <= _SOUND else len(sound)
    shown = ordered[: len(ordered) - hidden]
    lines: list[Line] = [[seg(elide(title, page.width), "strong")], []]
    if shown:
        lines += _table(shown, page)
    if hidden:
        more = " more" if shown else ""
        lines.append(
            [
                Segment("  ✓ ", "ok"),
                Segment(f"{amount(hidden, 'checkpoint').replace(' ', more + ' ', 1)}: sound"),
            ]
        )
    return lines


def _rank(report: Report) -> tuple[int, int, int]:
    severity = min((SEVERITIES.index(f.severity) for f in report.findings), default=len(SEVERITIES))
    return 0 if troubled(report) else 1, OUTCOMES.index(_outcome(report)), severity


def _outcome(report: Report) -> Outcome:
    if report.nothing:
        return "unknown"
    return worst([verdict.outcome for verdict in report.verdicts])


def _table(reports: Sequence[Report], page: Page) -> list[Line]:
    rows = _rows(reports, page)
    widths = columns(rows)
    widths[0] = min(widths[0], max(page.width - 4 - sum(widths[1:]) - 2 * (len(widths) - 1), _NAME))
    lines: list[Line] = []
    for number, row in enumerate(rows):
        line: Line = [Segment("  "), _mark(reports[number - 1]) if number else Segment(" "), Segment(" ")]
        for cell, wide in zip(row, widths, strict=True):
            line += [pad(cell, wide), Segment("  ")]
        lines.append(line)
    return lines


def _rows(reports: Sequence[Report], page: Page) -> list[Line]:
    """Return heading and rows: a column per target where that fits, else only the worst outcome."""
    groups = {v.target.sweep or v.target.label: v.target for report in reports for v in _all(report)}
    full = [t.sweep or f"{t.loader} {t.version}".strip() for t in groups.values()]
    for names in (full, [target.loader for target in groups.values()]):
        if len(set(names)) == len(names):
            head = [seg(name, "dim") for name in ("checkpoint", *names, "findings")]
            rows = [head, *([_name(r, page), *_cells(r, list(groups))] for r in reports)]
            if _NAME + sum(columns(rows)[1:]) + 2 * len(names) + 2 <= page.width - 4:
                return rows
    head = [seg(name, "dim") for name in ("checkpoint", "worst", "findings")]
    return [
        head,
        *([_name(r, page), seg(_outcome(r), OUTCOME_STYLE[_outcome(r)]), _counts(r)] for r in reports),
    ]


def _mark(report: Report) -> Segment:
    outcome = _outcome(report)
    if outcome == "ok" and troubled(report):
        return Segment("✗", "bad")
    return Segment(OUTCOME_GLYPH[outcome], OUTCOME_STYLE[outcome])


def _name(report: Report, page: Page) -> Segment:
    """Return the checkpoint's path, less the directory that the title names."""
    name = (
        report.target.removeprefix(page.below.removeprefix("./").rstrip("/") + "/")
        if page.below
        else report.target
    )
    return seg(name)


def _cells(report: Report, groups: Sequence[str]) -> Line:
    found: dict[str, list[Verdict]] = {}
    for verdict in _all(report):
        found.setdefault(verdict.target.sweep or verdict.target.label, []).append(verdict)
    return [*(_cell(found.get(group, [])) for group in groups), _counts(report)]


def _all(report: Report) -> tuple[Verdict, ...]:
    """Return the verdicts, those included that a comparison leaves out."""
    return report.verdicts + (report.unchanged.verdicts if report.unchanged else ())


def _cell(verdicts: Sequence[Verdict]) -> Segment:
    """Return the outcome of a target, or in which of its releases a sweep is ok."""
    if not verdicts:
        return Segment("–", "dim")
    outcome = worst([verdict.outcome for verdict in verdicts])
    good = [verdict.target for verdict in verdicts if verdict.outcome == "ok"]
    if good and outcome != "ok":
        loader = good[0].loader
        where = [name.removeprefix(loader).strip() for name in spans(good, [v.target for v in verdicts])]
        return seg(f"ok in {', '.join(where)}", OUTCOME_STYLE[outcome])
    return seg(outcome, OUTCOME_STYLE[outcome])


def _counts(report: Report) -> Segment:
    if report.nothing:
        return Segment("nothing to check", "warn")
    counts = [sum(f.severity == severity for f in report.findings) for severity in SEVERITIES]
    for severity, count in zip(SEVERITIES, counts, strict=True):
        if count:
            more = sum(counts) - count
            text = amount(count, severity) + (f", {more} more" if more else "")
            return Segment(text, SEVERITY_STYLE[severity])
    if report.crashes:
        return Segment("a rule crashed", "bad")
    blind = any(skip.kind == "blind" for skip in report.skips)
    return Segment("could not read all", "warn") if blind else Segment("none", "dim")
