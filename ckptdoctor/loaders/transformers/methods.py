"""Which strategy a quantiser has in transformers; a file beside this one each, imported when needed."""

from __future__ import annotations

from importlib import import_module

from .method import TransformersMethod, Unmodelled
from .run import TransformersRun

STRATEGIES = {
    "": "dense",
    "bnb-4bit": "bitsandbytes",
    "bnb-8bit": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fp8": "fp8",
    "mxfp4": "mxfp4",
    "torchao": "torchao",
    "gptq": "gptq",
    "awq": "awq",
}
"""Method → module of this folder whose ``METHOD`` is its class; any other is known by name only."""


def strategy(run: TransformersRun, method: str) -> TransformersMethod:
    """Return what transformers does under ``method``."""
    module = STRATEGIES.get(method)
    if module is None:
        return Unmodelled(run, method)
    found = import_module(f".{module}", __package__).METHOD(run, method)
    assert isinstance(found, TransformersMethod)
    return found
