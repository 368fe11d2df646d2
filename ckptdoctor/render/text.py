"""Report → a page for people: verdicts first, then the findings, then one line that sums up."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Report
from ..model.words import amount
from . import Page
from .findings import crash_lines, finding_lines, foremost, skip_lines, suppressed_lines
from .layout import Line, Segment, flow, fold, hang, paint, seg, size
from .overview import overview_lines, troubled
from .safe import clean, elide
from .standing import standing
from .verdicts import unchanged_lines, verdict_lines


def render(reports: Sequence[Report], page: Page) -> str:
    """Return the page for one report, or an overview and the pages of the failing ones."""
    return paint(lines(reports, page), page)


def lines(reports: Sequence[Report], page: Page) -> list[Line]:
    """Return the styled lines behind ``render``."""
    if len(reports) == 1:
        return [*_checkpoint(reports[0], page), [], *_summary(reports, page)]
    result = overview_lines(reports, page)
    for report in reports:
        if troubled(report) or page.verbose:
            result += [[], [Segment("─" * page.width if page.unicode else "-" * page.width, "dim")]]
            result += _checkpoint(report, page)
    return [*result, [], *_summary(reports, page)]


def _checkpoint(report: Report, page: Page) -> list[Line]:
    result: list[Line] = [[seg(elide(clean(report.target), page.width), "strong")]]
    about = [" + ".join(report.schemes)] if report.schemes else []
    if report.weights:
        about.append(f"{size(report.weights)} of weights")
    if report.revision:
        about.append(f"revision {report.revision[:12]}")
    result += [[Segment(text, "dim")] for text in fold(" · ".join(about), page.width)]
    if report.nothing:
        result += [
            [],
            *hang(
                [Segment("  ? ", "warn"), Segment("nothing to check", "warn"), Segment("  ")],
                report.nothing,
                page,
            ),
        ]
    if report.verdicts:
        result += [[], *verdict_lines(report.verdicts, page)]
    if report.unchanged and report.unchanged.verdicts:
        result += [[], *unchanged_lines(report.unchanged.verdicts, page)]
    result += finding_lines(report, page) + suppressed_lines(report.suppressed, page)
    return result + skip_lines(report.skips, page) + crash_lines(report.crashes, page)


def _summary(reports: Sequence[Report], page: Page) -> list[Line]:
    """Return the closing line: how it stands, then what it cost."""
    style, headline = standing(reports)
    cost: list[Line] = [[Segment(part, "dim")] for part in _cost(reports, page)]
    result = flow([], [[Segment(headline, style)], *cost], page)
    if any(report.findings for report in reports):
        result.append([Segment("`ckptdoctor explain RULE` tells more about a finding.", "dim")])
    return result + (_foremost(reports[0], page) if len(reports) == 1 else [])


def _foremost(report: Report, page: Page) -> list[Line]:
    """Return the cause to begin with once more, where so much was told that it may be out of sight."""
    cause = foremost(report.findings)
    if cause is None or (len(report.findings) == 1 and not cause.consequences):
        return []
    label = [Segment("Begin with "), seg(cause.rule, "rule"), Segment(": ")]
    return hang(label, cause.message, page, "strong", indent=2)


def _cost(reports: Sequence[Report], page: Page) -> list[str]:
    rules = max((report.rules_run for report in reports), default=0)
    parts = (
        [amount(rules, "rule") + (f" in {page.seconds:.2f} s" if page.seconds is not None else "")]
        if rules
        else []
    )
    read = sum(sum(report.bytes_read) for report in reports)
    parts += [f"{size(read)} read"] if read else []
    weights = sum(report.weights for report in reports)
    return parts + ([f"weights take {size(weights)}"] if weights else [])
