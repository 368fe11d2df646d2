"""Which strategy a method of ``quantization_config`` has in vLLM; a file beside this one each, imported when needed."""

from __future__ import annotations

from importlib import import_module

from .method import Unmodelled, VllmMethod
from .run import VllmRun

STRATEGIES = {
    "": "dense",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fp8": "fp8",
    "gptq": "gptq",
    "gptq_marlin": "gptq",
    "auto_gptq": "gptq",
    "awq": "awq",
    "awq_marlin": "awq",
    "auto_awq": "awq",
    "modelopt": "modelopt",
    "modelopt_fp4": "modelopt",
    "torchao": "torchao",
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
}
"""Method → module of this folder whose ``METHOD`` is its class; any other is known by name only."""


def strategy(run: VllmRun, method: str) -> VllmMethod:
    """Return what vLLM does under ``method``."""
    module = STRATEGIES.get(method)
    if module is None:
        return Unmodelled(run, method)
    found = import_module(f".{module}", __package__).METHOD(run, method)
    assert isinstance(found, VllmMethod)
    return found
