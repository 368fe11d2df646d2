"""Report → Markdown: job summaries, pull requests, model cards. Names from a checkpoint are never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..folding import spans
from ..model import Finding, Location, Report, Target, worst
from . import Page
from .consequences import also, follows
from .layout import OUTCOME_GLYPH, size
from .safe import clean, inert
from .verdicts import Entry, entries

_SPECIAL = re.compile(r"[\\`*_{}\[\]#!|~$<>&@]")
_ENTITY = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
_LIST = re.compile(r"^(\d*)([-+.)])")
_PLACES = 5
_SIGN = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}


def render(reports: Sequence[Report], page: Page) -> str:
    """Return a section per checkpoint: verdicts, findings, what could not be judged."""
    return inert("\n".join(line for report in reports for line in _report(report, page)) + "\n")


def _report(report: Report, page: Page) -> Iterator[str]:
    yield f"## {code(report.target)}\n"
    about = [" + ".join(report.schemes), f"{size(report.weights)} of weights" if report.weights else ""]
    if any(about):
        yield plain(" · ".join(filter(None, about))) + "\n"
    if report.nothing:
        yield f"**Nothing to check**: {plain(report.nothing)}\n"
    if report.verdicts:
        yield "| loader | outcome | precision | why |\n| --- | --- | --- | --- |"
        yield from map(_entry, entries(report.verdicts))
        yield ""
    for finding in report.findings:
        yield from _finding(finding, [v.target for v in report.verdicts], page)
    if not report.findings and not report.nothing and not report.crashes:
        yield "Nothing found.\n"
    remarks = list(_remarks(report))
    yield from remarks
    if remarks:
        yield ""


def _remarks(report: Report) -> Iterator[str]:
    """Yield a line for each finding that was accepted, each rule that could not look and each crash."""
    for item in report.suppressed:
        yield f"- accepted: {code(item.finding.rule)} {plain(item.finding.message)} ({plain(item.reason)})"
    for skip in report.skips:
        if skip.kind == "blind":
            yield f"- could not look: {code(skip.rule)}: {plain(skip.reason)}"
    for crash in report.crashes:
        yield f"- **crash** in {code(crash.rule)}: {plain(crash.error)} (a bug in ckptdoctor)"


def _entry(entry: Entry) -> str:
    verdict, target = entry.verdict, entry.verdict.target
    outcome = f"{OUTCOME_GLYPH[verdict.outcome]} {verdict.outcome}"
    held = code(verdict.precision) if verdict.precision else ""
    who = code(target.label)
    if target.sweep:
        who = code(f"{target.loader} {entry.version}") + (f" {plain(entry.extras)}" if entry.extras else "")
    return f"| {who} | {outcome} | {held} | {plain(verdict.reason)} |"


def _finding(finding: Finding, targets: Sequence[Target], page: Page) -> Iterator[str]:
    times = f" ×{finding.count:,}" if finding.count > 1 else ""
    yield f"### {_SIGN[finding.severity]} {finding.severity}: {code(finding.rule)}{times}\n"
    yield f"{plain(finding.message)}\n"
    if finding.outcomes:
        bad = worst([item.outcome for item in finding.outcomes])
        hit = [item.target for item in finding.outcomes if item.outcome == bad]
        who = map(code, spans(hit, targets, lambda target: target.label))
        yield f"- effect: **{bad}** in {', '.join(who)}"
    for text in dict.fromkeys(item.error for item in finding.outcomes if item.error):
        yield f"- says: {code(text)}"
    yield from _where(finding)
    if same := also(finding):
        yield f"- also: {plain(same)}"
    if following := follows(finding):
        yield f"- and {plain(following)}"
    remedy = page.advice(finding)
    if remedy:
        yield f"- fix: {plain(remedy)}"
    yield ""


def _where(finding: Finding) -> Iterator[str]:
    places = [place for place in finding.locations if place.file or place.tensor]
    if places:
        more = max(finding.count, len(places)) - len(places[:_PLACES])
        rest = f" … {more:,} more" if more > 0 else ""
        yield f"- where: {', '.join(map(_place, places[:_PLACES]))}{rest}"


def _place(place: Location) -> str:
    spot = place.file + (f":{place.line}" if place.line is not None else "")
    if not place.tensor:
        return code(spot)
    return code(place.tensor) + (f" in {code(spot)}" if spot else "")


def plain(text: str) -> str:
    """Return ``text`` so that it reads as it is: no markup, no HTML, no mention, no link, one line."""
    text = _SPECIAL.sub(lambda found: _ENTITY.get(found[0], f"\\{found[0]}"), clean(" ".join(text.split())))
    text = text.replace("://", ":\\/\\/").replace("www.", "www\\.")
    return _LIST.sub(r"\1\\\2", text)


def code(text: str) -> str:
    """Return ``text`` as a code span; in tables too, where a bare bar would end the cell."""
    text = clean(text).replace("|", "\\|")
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    edge = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{edge}{text}{edge}{fence}"
