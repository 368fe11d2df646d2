"""From a source and a target to what this room needs: the parsed checkpoint and the loader's reading of it."""

from __future__ import annotations

from typing import NamedTuple

from .. import loaders, ruledata
from ..checkpoint import load
from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading, Run
from ..model import Target
from ..sources.base import Source


class Subject(NamedTuple):
    """One checkpoint as one loader reads it."""

    ckpt: Checkpoint
    reading: Reading


def ask(source: Source, target: Target) -> Subject:
    """Return the checkpoint behind ``source`` and how ``target`` reads it. Raises OSError where it cannot be read."""
    book = ruledata.load()
    ckpt = load(source, metadata_only=True)
    run = Run(ckpt, target, book.loaders)
    model = loaders.model(target.loader, book.loaders[target.loader])
    run = run.planned(model.plan(run))
    if run.view.beyond is not None:
        return Subject(ckpt, run.reading(run.plan.events, unknown="more kinds of tensor than are judged"))
    return Subject(ckpt, model.read(run))
