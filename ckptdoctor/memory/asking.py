"""From a source and a target to what this room needs: the parsed checkpoint and the loader's reading of it."""

from __future__ import annotations

from typing import NamedTuple

from .. import loaders
from ..checkpoint import load
from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading, Run
from ..model import Target
from ..ruledata import Rulebook
from ..sources.base import Source


class Subject(NamedTuple):
    """One checkpoint as one loader reads it."""

    ckpt: Checkpoint
    reading: Reading


def ask(source: Source, target: Target, rulebook: Rulebook) -> Subject:
    """Return the checkpoint behind ``source`` and how ``target`` reads it. Raises OSError where it cannot be read."""
    ckpt = load(source, rulebook, metadata_only=True)
    run = Run(ckpt, target)
    model = loaders.model(target.loader, run.data)
    run = run.planned(model.plan(run))
    if run.view.beyond is not None:
        return Subject(ckpt, run.reading(run.plan.events, unknown="more kinds of tensor than are judged"))
    return Subject(ckpt, model.read(run))
