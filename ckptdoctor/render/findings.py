"""Findings, skips and crashes of one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..folding import spans
from ..model import (
    OUTCOMES,
    SEVERITIES,
    Crash,
    Finding,
    Location,
    Report,
    Skip,
    Suppressed,
    Target,
    worst,
)
from ..model.words import amount
from . import Page
from .consequences import also, follows
from .layout import OUTCOME_STYLE, SEVERITY_STYLE, Line, Segment, flow, hang, line_width, seg
from .safe import clean, elide, width

_GLYPH = {"error": "✗", "warning": "≠", "note": "·"}
_SAME = 4
"""Findings of one rule told in full; --verbose tells all."""

_PLACES = 3
"""Locations shown of a finding, all of them with --verbose."""


def finding_lines(report: Report, page: Page) -> list[Line]:
    """Return every finding, worst first, each as a block."""
    lines: list[Line] = []
    told: Counter[str] = Counter()
    targets = [verdict.target for verdict in report.verdicts]
    for finding in sorted(report.findings, key=_rank):
        told[finding.rule] += 1
        if told[finding.rule] > _SAME and not page.verbose:
            continue
        brief = finding.severity == "note" and not page.verbose
        lines += [[], _headline(finding), *hang([Segment("    ")], finding.message, page, "strong")]
        lines += _places(finding, page, 1 if brief else _PLACES)
        if not brief:
            lines += _effects(finding, targets, page, compared=report.unchanged is not None)
            lines += _consequences(finding, page)
            lines += _errors(finding, page)
            lines += _repair(finding, page, again=told[finding.rule] > 1)
    more = {rule: count - _SAME for rule, count in told.items() if count > _SAME and not page.verbose}
    for rule, count in more.items():
        label = [Segment("  … ", "dim"), Segment(f"{count:,} more of "), seg(rule, "rule")]
        lines += [[], [*label, Segment("  --verbose shows them", "dim")]]
    return lines


def _rank(finding: Finding) -> tuple[int, int, int]:
    outcome = worst([item.outcome for item in finding.outcomes])
    return SEVERITIES.index(finding.severity), OUTCOMES.index(outcome), -len(finding.consequences)


def foremost(findings: Sequence[Finding]) -> Finding | None:
    """Return the error to begin with, the first on the page; None where there is none."""
    return min((finding for finding in findings if finding.severity == "error"), key=_rank, default=None)


def _headline(finding: Finding) -> Line:
    style = SEVERITY_STYLE[finding.severity]
    line = [
        Segment(f"  {_GLYPH[finding.severity]} {finding.severity}", style),
        Segment("  "),
        seg(finding.rule, "rule"),
    ]
    return [*line, Segment(f"  ×{finding.count:,}", "dim")] if finding.count > 1 else line


def _label(text: str) -> Line:
    return [Segment("    "), Segment(f"{text:<8}", "dim")]


def _places(finding: Finding, page: Page, limit: int) -> list[Line]:
    places = [place for place in finding.locations if place.file or place.tensor or place.note]
    shown = places if page.verbose or len(places) == limit + 1 else places[:limit]
    rows = _place_rows(shown, page.width - line_width(_label("")))
    left = max(finding.count, len(finding.locations)) - len(shown)
    if rows and left > 0 and finding.count > 1:
        rows.append([Segment(f"… {left:,} more", "dim")])
    return [[*_label("" if number else "where"), *row] for number, row in enumerate(rows)]


def _place_rows(places: Sequence[Location], room: int) -> list[Line]:
    """Return ``tensor @ file`` rows; where that is too wide, tensors with their file once below them."""
    beside = all(width(clean(p.tensor or "")) + 3 + width(_spot(p)) <= room for p in places if p.tensor)
    rows: list[Line] = []
    for number, place in enumerate(places):
        if place.tensor is None:
            rows.append(_json_place(place, room))
        elif beside:
            rows.append([seg(place.tensor), *([Segment(f" @ {_spot(place)}", "dim")] if place.file else [])])
        else:
            rows.append([Segment(elide(clean(place.tensor), room))])
            last = number + 1 == len(places) or places[number + 1].file != place.file
            rows += [[Segment(f"@ {elide(_spot(place), room - 2)}", "dim")]] if last and place.file else []
    return rows


def _json_place(place: Location, room: int) -> Line:
    spot = elide(_spot(place), room)
    left = room - width(spot) - 2
    detail = elide(clean(place.note or place.pointer or ""), left) if left >= 8 else ""
    return [Segment(spot), *([Segment(f"  {detail}", "dim")] if detail else [])]


def _spot(place: Location) -> str:
    """Return ``config.json:12:5``, as editors and terminals understand it."""
    spot = clean(place.file)
    if place.line is not None:
        spot += f":{place.line}" + (f":{place.column}" if place.column is not None else "")
    return spot


def _effects(finding: Finding, targets: Sequence[Target], page: Page, *, compared: bool) -> list[Line]:
    """Return the targets grouped by what happens there, worst first; in a comparison, those unharmed too."""
    parts: list[Line] = []
    for outcome in OUTCOMES:
        who = [item.target for item in finding.outcomes if item.outcome == outcome]
        if who:
            names = ", ".join(spans(who, targets))
            parts.append([Segment(outcome, OUTCOME_STYLE[outcome]), seg(f" in {names}")])
    hit = {item.target.label for item in finding.outcomes}
    loaders = {item.target.loader for item in finding.outcomes}
    spared = [target for target in targets if target.loader in loaders and target.label not in hit]
    if compared and spared:
        parts.append([Segment("nothing", "ok"), seg(f" in {', '.join(spans(spared, targets))}")])
    return flow(_label("effect"), parts, page) if parts else []


def _consequences(finding: Finding, page: Page) -> list[Line]:
    """Return what follows from the finding, in a line or two; with --verbose one by one."""
    lines: list[Line] = []
    same = also(finding, None if page.verbose else 3)
    if same:
        lines += hang(_label("also"), same, page)
    if page.verbose:
        for item in finding.consequences:
            if item.rule != finding.rule:
                label = [*_label("follows"), seg(item.rule, "rule"), Segment("  ")]
                lines += hang(label, item.message, page, indent=line_width(_label("")))
    elif following := follows(finding):
        lines += hang(_label("and"), following, page, "dim")
    return lines


def _errors(finding: Finding, page: Page) -> list[Line]:
    """Return what the loaders say, each distinct text once: people search for these words."""
    said: dict[str, list[str]] = {}
    for item in finding.outcomes:
        if item.error:
            said.setdefault(item.error, []).append(item.target.loader)
    lines: list[Line] = []
    for text, loaders in list(said.items())[: None if page.verbose else 2]:
        label = _label("" if lines else "says")
        folded = hang(label, f"{text}  ({', '.join(dict.fromkeys(loaders))})", page)
        lines += folded if page.verbose else folded[:3]
    return lines


def _repair(finding: Finding, page: Page, again: bool) -> list[Line]:
    fix = finding.fix
    if fix is None and again:
        return [[*_label("fix"), Segment("as above", "dim")]]
    command = fix.title if fix is not None and fix.safety == "manual" else ""
    text = page.advice(finding).removesuffix(command).rstrip()
    lines = hang(_label("fix"), text, page) if text else []
    if command:
        lines += hang(_label("" if lines else "fix"), command, page, "strong")
    if fix is not None and fix.edits:
        flag = "" if fix.safety == "safe" else " --unsafe"
        lines.append([*_label(""), Segment(f"ckptdoctor fix{flag}", "strong"), Segment(" does this", "dim")])
    return lines


def suppressed_lines(known: Sequence[Suppressed], page: Page) -> list[Line]:
    """Return what somebody accepts: how many, or with --verbose which and why."""
    if not known:
        return []
    if not page.verbose:
        tail = Segment("  by settings or baseline; --verbose shows them", "dim")
        return [[], [Segment("  · "), Segment(f"{amount(len(known), 'finding')} accepted"), tail]]
    lines: list[Line] = [[]]
    for item in known:
        label = [Segment("  · accepted", "dim"), Segment("  "), seg(item.finding.rule, "rule"), Segment("  ")]
        lines += hang(label, f"{item.finding.message} ({item.reason})", page, indent=4)
    return lines


def skip_lines(skips: Sequence[Skip], page: Page) -> list[Line]:
    """Return what could not be judged, folded by reason; rules that do not apply only when asked for."""
    groups: dict[tuple[str, str], list[str]] = {}
    for skip in skips:
        if skip.kind != "not-applicable" or page.verbose:
            groups.setdefault((skip.kind, skip.reason), []).append(skip.rule)
    if not groups:
        return []
    words = {"blind": "could not look", "abstained": "not judged", "not-applicable": "not applicable"}
    lines: list[Line] = [[]]
    for kind, word in words.items():
        style = "warn" if kind == "blind" else "dim"
        for (found, reason), rules in groups.items():
            if found == kind:
                who = ", ".join(rules) if page.verbose or len(rules) == 1 else amount(len(rules), "rule")
                lines += hang(
                    [Segment(f"  ? {word}", style), Segment("  ")], f"{who}: {reason}", page, indent=4
                )
    return lines


def crash_lines(crashes: Sequence[Crash], page: Page) -> list[Line]:
    """Return the rules that raised: our fault, said so."""
    lines: list[Line] = [[]] if crashes else []
    for crash in crashes:
        label = [Segment("  ✗ crash", "bad"), Segment("  "), seg(crash.rule, "rule"), Segment("  ")]
        lines += hang(label, f"{crash.error} (a bug in ckptdoctor: please report it)", page, indent=4)
    return lines
