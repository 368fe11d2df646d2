"""Which strategy a method of ``quantization_config`` has in vLLM; a file beside this one each, imported when needed."""

from __future__ import annotations

from ..shared import strategies
from .dense import Dense
from .method import Unmodelled, VllmMethod
from .run import VllmRun


def strategy(run: VllmRun, method: str) -> VllmMethod:
    """Return what vLLM does under ``method``: the file is called as the format that the method stands for."""
    if not method:
        return Dense(run, method)
    found = (strategies.of(__package__, method, run.rulebook) or Unmodelled)(run, method)
    assert isinstance(found, VllmMethod)
    return found
