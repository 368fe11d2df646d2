"""One checkpoint, read by one target's loader: plan, then read."""

from __future__ import annotations

from ..checkpoint.nouns import Checkpoint
from ..model import Target
from ..skiplists.safe_regex import UnsafeRegex
from .base import Reading, Run
from .registry import model


def read(ckpt: Checkpoint, target: Target) -> Reading:
    """Ask the model of the target's loader what it makes of ``ckpt``."""
    run = Run(ckpt, target)
    loader = model(target.loader, run.data)
    try:
        run = run.planned(loader.plan(run))
        if run.view.beyond is not None:
            return run.reading(run.plan.events, unknown="more kinds of tensor than are judged")
        return loader.read(run)
    except UnsafeRegex:
        return run.reading(run.plan.events, unknown="an expression in the config costs too much")
