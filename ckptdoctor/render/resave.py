"""A re-save as a page for people, and as JSON."""

from __future__ import annotations

from ..model.words import amount
from ..resaving.resave import Proposal
from . import Page
from .json import as_dict
from .layout import Line, Segment, hang, paint, seg, size
from .plan import verdict_changes
from .safe import clean, dumps, elide

_FEW = 8


def text(proposal: Proposal, out: str, page: Page) -> str:
    """Return the page: what is written, what is done with the tensors, what the loaders say before and after."""
    plan = proposal.plan
    room = page.width // 2 - 4
    lines: list[Line] = [
        [
            seg(elide(clean(proposal.before.target), room), "strong"),
            Segment(" → "),
            seg(elide(clean(out), room), "strong"),
        ],
        [],
    ]
    lines += [item for note in plan.notes for item in hang([Segment("  ")], note, page)]
    for shard in plan.shards[:_FEW]:
        lines.append(_file(shard.name, shard.size, amount(len(shard.tensors), "tensor")))
    if len(plan.shards) > _FEW:
        lines.append([Segment(f"  … and {amount(len(plan.shards) - _FEW, 'more file')} of weights", "dim")])
    others = len(plan.carried) + len(plan.texts)
    if others:
        lines.append(
            _file(
                amount(others, "other file"),
                sum(n for _, n in plan.carried) + sum(len(t) for _, t in plan.texts),
                "",
            )
        )
    left = [name for name in plan.left_out if not _replaced(name, proposal)]
    if left:
        lines += hang(
            [Segment("  left out: ", "dim")],
            ", ".join(left[:_FEW]) + (" …" if len(left) > _FEW else ""),
            page,
            "dim",
        )
    lines += [[], *verdict_changes(proposal.before, proposal.after), []]
    return paint([*lines, _end(proposal, page.seconds)], page)


def as_json(proposal: Proposal, out: str, *, written: bool) -> str:
    """Return the re-save as JSON, with both reports."""
    plan = proposal.plan
    value = {
        "schema": 1,
        "target": proposal.before.target,
        "out": out,
        "written": written,
        "bytes": plan.size,
        "tensors": plan.tensors,
        "shards": [{"file": s.name, "bytes": s.size, "tensors": len(s.tensors)} for s in plan.shards],
        "carried": [{"file": name, "bytes": length} for name, length in plan.carried],
        "left_out": list(plan.left_out),
        "notes": list(plan.notes),
        "before": as_dict(proposal.before),
        "after": as_dict(proposal.after),
    }
    return dumps(value)


def _file(name: str, length: int, about: str) -> Line:
    return [
        Segment("  "),
        seg(clean(name)),
        Segment(f"  {size(length)}"),
        Segment(f"  {about}" if about else "", "dim"),
    ]


def _replaced(name: str, proposal: Proposal) -> bool:
    """Whether a file that is left out has its tensors, or its place, in what is written."""
    pieces = {piece.file for shard in proposal.plan.shards for piece in shard.pieces}
    return name in pieces or name.endswith(".index.json")


def _end(proposal: Proposal, seconds: float | None) -> Line:
    total = size(proposal.plan.size)
    if seconds is None:
        return [Segment(f"Nothing was written (--dry-run); it would be {total}.", "dim")]
    rate = size(int(proposal.plan.size / max(seconds, 0.001)))
    return [
        Segment("Written: ", "strong"),
        Segment(f"{total} in {seconds:.1f} s ({rate}/s); the source is as it was."),
    ]
