"""Which strategy a quantiser has in transformers; a file beside this one each, imported when needed."""

from __future__ import annotations

from ..shared import strategies
from .dense import Dense
from .method import TransformersMethod, Unmodelled
from .run import TransformersRun


def strategy(run: TransformersRun, method: str) -> TransformersMethod:
    """Return what transformers does under ``method``: the file is called as the format that it stands for."""
    if not method:
        return Dense(run, method)
    found = (strategies.of(__package__, method, run.rulebook) or Unmodelled)(run, method)
    assert isinstance(found, TransformersMethod)
    return found
