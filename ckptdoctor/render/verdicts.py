"""The verdict table: what each loader makes of one checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from ..folding import Range, ranges, span, spans
from ..model import Target, Verdict
from . import Page
from .layout import OUTCOME_GLYPH, OUTCOME_STYLE, Line, Segment, columns, fold, hang, pad, seg, size
from .safe import width

_BESIDE = 32
"""Columns the reason needs to stand beside its row; with fewer it goes below."""

_WHY = 2
"""Lines of reason per row: the findings below tell the rest."""

_EVIDENCE = {"observed": "known from a recorded run", "source": "known from its source", "assumed": "assumed"}


class Entry(NamedTuple):
    """A row of the table: one target, or a range of releases that say the same."""

    verdict: Verdict
    version: str
    extras: str
    """What else the target was taken to have."""


def verdict_lines(verdicts: Sequence[Verdict], page: Page) -> list[Line]:
    """Return the table, one row per target or range of releases, with its plug-ins and why it is not ``ok``."""
    if not verdicts:
        return []
    table = list(entries(verdicts))
    rows = [_cells(entry) for entry in table]
    widths = columns(rows)
    used = 2 + sum(widths) + 2 * len(widths) - 1
    beside = page.width - used >= _BESIDE and all(
        len(fold(_why(entry.verdict, page), page.width - used)) <= _WHY for entry in table
    )
    indent, lines = used if beside else 6, []
    told: set[str] = set()
    for entry, row in zip(table, rows, strict=True):
        cells = _padded(row, widths)
        first, *rest = _remarks(entry, page, page.width - indent, told) or [Segment("")]
        lines += [[*cells, first]] if beside else [cells, [Segment(" " * indent), first]]
        lines += [[Segment(" " * indent), more] for more in rest]
    table_lines = [line for line in lines if any(part.text.strip() for part in line)]
    return [*table_lines, *_compared(verdicts, page), *_footnotes(verdicts, page)]


def _padded(row: Line, widths: Sequence[int]) -> Line:
    cells: Line = [Segment("  ")]
    for number, (cell, wide) in enumerate(zip(row, widths, strict=True)):
        cells += [pad(cell, wide), Segment("  " if number else " ")]
    return cells


def _remarks(entry: Entry, page: Page, room: int, told: set[str]) -> Line:
    """Return the lines that go with a row: why it is not ``ok``, then what else its target has."""
    extras = [Segment(part, "dim") for part in fold(entry.extras, room)]
    return [*_reason(entry.verdict, page, room, told), *extras]


def _compared(verdicts: Sequence[Verdict], page: Page) -> list[Line]:
    """Return what the verdicts rest on, a line for all of them or one for each that differs."""
    told: dict[str, list[str]] = {}
    for verdict in verdicts:
        states: dict[str, list[str]] = {"yes": [], "no": []}
        for name, part in verdict.compared.items():
            why = f" ({part.reason})" if part.reason and page.verbose else ""
            states.get(part.state, []).append(name + why)
        text = f"compared: {', '.join(states['yes']) or 'nothing'}"
        text += f"; not: {', '.join(states['no'])}" if states["no"] else ""
        if verdict.compared:
            told.setdefault(text, []).append(verdict.target.loader)
    lines: list[Line] = []
    for text, loaders in told.items():
        who = f"{', '.join(dict.fromkeys(loaders))} " if len(told) > 1 else ""
        lines += [[Segment("    "), Segment(part, "dim")] for part in fold(who + text, page.width - 4)]
    return lines


def entries(verdicts: Sequence[Verdict]) -> Iterator[Entry]:
    """Yield the rows in the order of the targets, sweeps folded into ranges."""
    for sweep, group in groupby(verdicts, key=lambda verdict: verdict.target.sweep):
        if not sweep:
            yield from (Entry(v, v.target.version, _with(v.target)) for v in group)
            continue
        found = ranges(group)
        everywhere = _common(found)
        for item in found:
            version = span(item.verdicts[0].target.version, item.verdict.target.version)
            plugins = [f"{name} {span(*v)}" for name, v in item.uses.items() if name not in everywhere]
            yield Entry(item.verdict, version, _list(plugins, item.verdict.target))


def unchanged_lines(same: Sequence[Verdict], page: Page) -> list[Line]:
    """Return what a comparison leaves out, a line per loader."""
    lines: list[Line] = []
    for loader, group in groupby(sorted(same, key=lambda v: v.target.loader), key=lambda v: v.target.loader):
        first, *more = group
        targets = [verdict.target for verdict in (first, *more)]
        names = ", ".join(spans(targets, targets, lambda target: target.version))
        what = f"{first.outcome} {first.precision or ''}".strip() + (
            f": {first.reason}" if first.reason else ""
        )
        told = f"{names.removeprefix(loader).strip()}: {what}"
        label = [Segment("  = ", "dim"), seg(loader, "dim"), Segment(" ")]
        lines += hang(label, told, page, "dim")
    return lines


def _common(found: Sequence[Range]) -> tuple[str, ...]:
    """Return the packages that count in each of several ranges, told once below the table."""
    if len(found) < 2:
        return ()
    return tuple(name for name in found[0].uses if all(name in item.uses for item in found))


def _cells(entry: Entry) -> Line:
    verdict = entry.verdict
    style, target = OUTCOME_STYLE[verdict.outcome], verdict.target
    mark = "*" if target.origin == "assumed" and target.version else ""
    return [
        seg(OUTCOME_GLYPH[verdict.outcome], style),
        seg(target.loader, "strong"),
        seg(entry.version + mark),
        seg(verdict.outcome, style),
        seg(
            verdict.precision or ("" if verdict.outcome == "ok" else "–"), "" if verdict.precision else "dim"
        ),
    ]


def _why(verdict: Verdict, page: Page) -> str:
    parts = [verdict.reason or ("" if verdict.outcome == "ok" else ", ".join(verdict.because))]
    needs = [need for need in verdict.needs if need.partition(" ")[0] not in parts[0]]
    if needs:
        parts.append("needs " + ", ".join(needs))
    if verdict.sampled:
        parts.append("sampled")
    if page.verbose:
        if verdict.weights is not None:
            parts.append(f"{size(verdict.weights)} of weights on a device")
        if verdict.tensor_parallel:
            parts.append(f"tensor parallel on {', '.join(map(str, verdict.tensor_parallel))}")
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


def _with(target: Target) -> str:
    """Return ``with vllm-bnb-plugin 0.0.3, tp=2``: what else the target was taken to have."""
    return _list(
        [f"{name} {version}" for name, version in target.versions.items() if name != target.loader], target
    )


def _list(packages: Sequence[str], target: Target) -> str:
    parts = [*packages, *(f"{key}={str(value).lower()}" for key, value in target.options.items())]
    text = "with " + ", ".join(parts) if parts else ""
    return text if target.device == "any" else f"{text} on {target.device}".strip()


def _footnotes(verdicts: Sequence[Verdict], page: Page) -> list[Line]:
    """Return what is meant by a star, and by a release of a package that needs others beside it."""
    texts = []
    assumed = [v.target.loader for v in verdicts if v.target.origin == "assumed" and v.target.version]
    if assumed:
        texts.append(f"* newest version known, not installed here; name yours with --for {assumed[0]}==X.Y")
    for sweep, group in groupby(verdicts, key=lambda verdict: verdict.target.sweep):
        found = ranges(group) if sweep else ()
        names = _common(found)
        if names:
            texts.append(f"each {found[0].verdict.target.loader} {_company(found, names)}")
    return [[Segment("    "), Segment(part, "dim")] for text in texts for part in fold(text, page.width - 4)]


def _company(found: Sequence[Range], names: Sequence[str]) -> str:
    """Return the packages beside each of several ranges, with their versions where those are the same for all."""
    fixed = {name: found[0].uses[name][0] for name in names}
    if all(item.uses[name] == (version,) * 2 for item in found for name, version in fixed.items()):
        return "with " + ", ".join(f"{name} {version}" for name, version in fixed.items())
    return f"with the {' and '.join(names)} that went with it"
