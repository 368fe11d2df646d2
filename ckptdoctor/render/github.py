"""Report → workflow commands of GitHub Actions: one annotation per finding, then a line per checkpoint.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..folding import spans
from ..model import Finding, Report, worst
from . import Page
from .consequences import in_words
from .places import path_of
from .safe import clean, inert, marked
from .verdicts import entries

_COMMAND = {"error": "error", "warning": "warning", "note": "notice"}


def render(reports: Sequence[Report], page: Page) -> str:
    """Return the lines for the log of a step; every one starts with our own text, so none is a forged command."""
    return "".join(line + "\n" for report in reports for line in _report(report, page))


def _report(report: Report, page: Page) -> Iterator[str]:
    for finding in report.findings:
        yield _annotation(report, finding, page)
    for crash in report.crashes:
        yield f"::error title=ckptdoctor crashed::{_data(f'{crash.rule}: {crash.error}')}"
    if report.nothing:
        yield f"::error title=nothing to check::{_data(f'{report.target}: {report.nothing}')}"
    verdicts = ", ".join(
        f"{e.verdict.target.loader} {e.version} {e.verdict.outcome}" for e in entries(report.verdicts)
    )
    known = f" ({len(report.suppressed)} accepted)" if report.suppressed else ""
    yield inert(f"ckptdoctor: {clean(report.target)}: {clean(verdicts) or 'no verdict'}{known}")


def _annotation(report: Report, finding: Finding, page: Page) -> str:
    place = finding.locations[0] if finding.locations else None
    fields = {"file": path_of(report, place, page.base)}
    if place is not None and place.line is not None:
        fields["line"] = str(place.line)
    if place is not None and place.column is not None:
        fields["col"] = str(place.column)
    fields["title"] = finding.rule
    properties = ",".join(f"{key}={_property(value)}" for key, value in fields.items())
    return f"::{_COMMAND[finding.severity]} {properties}::{_data(_message(report, finding, page))}"


def _message(report: Report, finding: Finding, page: Page) -> str:
    parts = [*filter(None, (finding.message, in_words(finding)))]
    if finding.outcomes:
        bad = worst([item.outcome for item in finding.outcomes])
        hit = [item.target for item in finding.outcomes if item.outcome == bad]
        who = spans(hit, [v.target for v in report.verdicts], lambda target: target.label)
        parts.append(f"{bad} in {', '.join(who)}")
    remedy = page.advice(finding)
    return "\n".join([*map(clean, parts), *([remedy] if remedy else [])])


def _data(text: str) -> str:
    """Escape as the runner unescapes; a line break stays one, inside the annotation."""
    escaped = "\n".join(map(clean, text.split("\n"))).replace("%", "%25")
    return marked(escaped.replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(clean(text)).replace(":", "%3A").replace(",", "%2C")
