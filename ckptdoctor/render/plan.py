"""A plan as a page for people: what changes in which file, what is left to do by hand, what the loaders say then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ..fixing.plan import Plan, Step
from ..model import (
    DirRename,
    Edit,
    FileDrop,
    FileMove,
    FileWrite,
    Finding,
    JsonDrop,
    JsonSet,
    MetaSet,
    Report,
    TensorRename,
    TensorView,
    Verdict,
)
from ..model.words import amount
from . import Page
from .json import as_dict
from .layout import OUTCOME_STYLE, Line, Segment, columns, hang, pad, paint, seg
from .safe import clean, dumps, elide

FEW = 6
"""Edits of one kind that are shown one by one."""
_INDENT = "      "


def text(plan: Plan, page: Page, *, unsafe: bool) -> str:
    """Return the page for ``plan``."""
    lines: list[Line] = [[seg(elide(clean(plan.before.target), page.width), "strong")], []]
    for step in plan.steps:
        lines += _step(step, page)
    if not plan.steps:
        lines += [[Segment("  nothing to change", "dim")], []]
    lines += _left(plan, page, unsafe=unsafe)
    return paint([*lines, *verdict_changes(plan.before, plan.after)], page)


def as_json(plan: Plan, *, applied: str | None) -> str:
    """Return the plan as JSON: steps with their edits, what was rejected, and both reports."""
    value = {
        "schema": 1,
        "target": plan.before.target,
        "applied": applied,
        "steps": [
            {
                "rule": step.finding.rule,
                "title": step.finding.fix.title if step.finding.fix else "",
                "safety": step.finding.fix.safety if step.finding.fix else "",
                "edits": [_edit(edit) for edit in _edits(step.finding)],
            }
            for step in plan.steps
        ],
        "rejected": [{"rule": item.finding.rule, "reason": item.reason} for item in plan.rejected],
        "revealed": [{"rule": item.rule, "message": item.message} for item in plan.revealed],
        "before": as_dict(plan.before),
        "after": as_dict(plan.after),
    }
    return dumps(value)


def _edits(finding: Finding) -> tuple[Edit, ...]:
    return finding.fix.edits if finding.fix else ()


def _edit(edit: Edit) -> dict[str, object]:
    given = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in edit._asdict().items()
    }
    return {"edit": type(edit).__name__, **given}


def _step(step: Step, page: Page) -> list[Line]:
    fix = step.finding.fix
    assert fix is not None
    style = "ok" if fix.safety == "safe" else "warn"
    head: Line = [Segment("  "), seg(step.finding.rule, "rule"), Segment("  "), Segment(fix.safety, style)]
    lines = [head, *hang([Segment("    ")], fix.title, page)]
    files: dict[str, list[Edit]] = {}
    for edit in fix.edits:
        files.setdefault("" if isinstance(edit, DirRename) else edit.file, []).append(edit)
    for file, edits in files.items():
        if file:
            lines.append([Segment("    "), seg(elide(clean(file), page.width - 4), "dim")])
        lines += _few([_edit_lines(edit, page.width - len(_INDENT)) for edit in edits])
    return [*lines, []]


def _few(told: Sequence[list[Line]]) -> list[Line]:
    shown = [[Segment(_INDENT), *line] for lines in told[:FEW] for line in lines]
    more = len(told) - FEW
    return [*shown, [Segment(f"{_INDENT}… and {amount(more, 'more change')}", "dim")]] if more > 0 else shown


def _edit_lines(edit: Edit, room: int) -> list[Line]:
    """Return one edit as lines: ``-`` what goes, ``+`` what comes, as in a diff."""
    if isinstance(edit, JsonSet):
        old = _member("-", edit.pointer, edit.was[0], room) if edit.was else []
        return [*old, *_member("+", edit.pointer, edit.value, room)]
    if isinstance(edit, JsonDrop):
        return _member("-", edit.pointer, edit.was[0], room)
    if isinstance(edit, TensorRename):
        return [_line("-", edit.tensor, room), _line("+", edit.to, room)]
    if isinstance(edit, TensorView):
        return [
            _line("-", f"{edit.tensor}: {edit.was[0]} {list(edit.was[1])}", room),
            _line("+", f"{edit.tensor}: {edit.dtype} {list(edit.shape)}", room),
        ]
    if isinstance(edit, MetaSet):
        lines = [] if edit.was is None else [_line("-", f"__metadata__ {edit.key} = {edit.was}", room)]
        return (
            lines
            if edit.value is None
            else [*lines, _line("+", f"__metadata__ {edit.key} = {edit.value}", room)]
        )
    return [_file(edit, room)]


def _file(edit: FileWrite | FileMove | FileDrop | DirRename, room: int) -> Line:
    if isinstance(edit, FileMove):
        return _line("→", f"renamed to {edit.to}", room)
    if isinstance(edit, FileDrop):
        return _line(
            "-", f"{amount(edit.was - edit.size, 'byte')} at its end ({edit.was:,} → {edit.size:,})", room
        )
    if isinstance(edit, DirRename):
        return _line("→", f"the directory is renamed to {edit.to}", room)
    return _line(
        "+", f"{'written' if edit.was is None else 'written anew'}, {amount(len(edit.content), 'byte')}", room
    )


def _line(sign: str, words: str, room: int) -> Line:
    style = {"-": "bad", "+": "ok"}.get(sign, "info")
    return [Segment(elide(f"{sign} {clean(words)}", room), style)]


def _member(sign: str, pointer: str, value: object, room: int) -> list[Line]:
    """Return a member as one line, an object that is too long for it as a line for each of its members."""
    text = f"{pointer} = {_value(value)}"
    if not isinstance(value, dict) or len(text) <= room - 2:
        return [_line(sign, text, room)]
    inner = [f"  {key}: {_value(item)}" for key, item in value.items()]
    return [_line(sign, words, room) for words in (f"{pointer} =", *inner)]


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _left(plan: Plan, page: Page, *, unsafe: bool) -> list[Line]:
    """Return what is not done: repairs that did not stand, unsafe ones, and what only a person can do."""
    lines: list[Line] = []
    for rejected in plan.rejected:
        lines += _note("not applied", "warn", rejected.finding.rule, rejected.reason, page)
    for finding in plan.revealed:
        lines += _note("comes to light", "info", finding.rule, finding.message, page)
    told: set[tuple[str, str]] = set()
    for finding in plan.after.findings:
        fix = finding.fix
        if finding.severity == "note" or any(item.finding.rule == finding.rule for item in plan.rejected):
            continue
        offered = fix is not None and fix.edits
        advice = page.advice(finding)
        if (finding.rule, advice) in told:
            continue
        told.add((finding.rule, advice))
        if offered and not unsafe:
            lines += _note("with --unsafe", "info", finding.rule, advice, page)
        elif not offered:
            lines += _note("by hand", "dim", finding.rule, advice, page)
    return [*lines, []] if lines else []


def _note(word: str, style: str, rule: str, words: str, page: Page) -> list[Line]:
    label: Line = [Segment(f"  {word}", style), Segment("  "), seg(rule, "rule"), Segment("  ")]
    return hang(label, words, page, indent=4)


def verdict_changes(before: Report, after: Report) -> Iterable[Line]:
    """Yield what each loader made of it and makes of it now."""
    rows = [_row(was, now) for was, now in zip(before.verdicts, after.verdicts, strict=True)]
    widths = columns([row[:3] for row in rows]) if rows else []
    for row in rows:
        cells = [[pad(cell, wide), Segment("  ")] for cell, wide in zip(row[:3], widths, strict=True)]
        yield [Segment("  "), *(part for cell in cells for part in cell), *row[3:]]


def _row(was: Verdict, now: Verdict) -> Line:
    first = [
        seg(was.target.loader, "strong"),
        seg(was.target.version),
        seg(was.outcome, OUTCOME_STYLE[was.outcome]),
    ]
    if now.outcome == was.outcome and now.precision == was.precision:
        return [*first, Segment("as before", "dim")]
    precision = f"  {now.precision}" if now.precision else ""
    return [*first, Segment("→ "), seg(now.outcome, OUTCOME_STYLE[now.outcome]), seg(precision)]
