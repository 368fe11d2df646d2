"""A re-save from end to end: parse, plan, prove on an overlay, write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..checkpoint import load
from ..checkpoint.gc_paused import gc_paused
from ..checkpoint.nouns import Checkpoint
from ..engine import examine
from ..model import Report, Target
from ..model.words import RANK
from ..ruledata import Rulebook
from ..sources.base import Source
from ..sources.local import LocalSource
from ..sources.single import SingleSource
from .nouns import Chosen, Plan, ResaveError
from .planning import Wanted, overlay, plan


class Proposal(NamedTuple):
    """What would be written, and what the loaders make of it before and after."""

    plan: Plan
    before: Report
    after: Report


def proposed(
    source: LocalSource | SingleSource,
    out: str,
    wanted: Wanted,
    targets: Sequence[Target],
    rulebook: Rulebook,
) -> Proposal:
    """Return what a re-save of ``source`` to ``out`` would be, checked as if it were written.

    Raises ResaveError where it cannot be done, or where a loader would be worse off with it.
    """
    with gc_paused():
        ckpt = load(source, rulebook)
        before = examine(ckpt, targets, rulebook.cards)
        made = plan(ckpt, wanted, _times(source), _pickled(ckpt, source))
        label = out.rstrip("/") if os.path.isdir(source.label) else out
        after = _seen(overlay(source, made, label), targets, rulebook)
    for was, now in zip(before.verdicts, after.verdicts, strict=True):
        if was.outcome != "unknown" and RANK[now.outcome] < RANK[was.outcome]:
            why = ", ".join(now.because) or "it would be read otherwise"
            raise ResaveError(
                f"{now.target.label} would go from {was.outcome} to {now.outcome} ({why}); nothing was written"
            )
    return Proposal(made, before, after)


def _pickled(ckpt: Checkpoint, source: LocalSource | SingleSource) -> tuple[list[Chosen], list[str]] | None:
    """Return the tensors of the model's pickles, where there are no safetensors of it."""
    from .pickled import chosen, files_of

    wrong = [
        d.at.file
        for d in ckpt.defects
        if d.code == "wrong-magic" and d.facts.get("kind") in ("zip", "pickle")
    ]
    misnamed = tuple(file for file in ckpt.shards if file in wrong)
    if set(ckpt.shards) - set(misnamed):
        return None
    files = misnamed or files_of(ckpt)
    return chosen(ckpt, source, files) if files else None


def _seen(source: Source, targets: Sequence[Target], rulebook: Rulebook) -> Report:
    ckpt = load(source, rulebook)
    return examine(ckpt, targets, rulebook.cards)


def _times(source: LocalSource | SingleSource) -> dict[str, int]:
    """Return when each file was changed, in ns."""
    times = {}
    for name, known in source.entries().items():
        if known.state == "here":
            descriptor = source.descriptor(name)
            if isinstance(descriptor, int):
                times[name] = os.fstat(descriptor).st_mtime_ns
                os.close(descriptor)
    return times
