"""Build models in vLLM, with or without weights, and say what they hold. On a CPU, in this process.

Weights are counted between loading and their conversion to a kernel's layout, which differs from machine to machine:
parameters and buffers, each memory once, and what bitsandbytes keeps beside a weight. The cache is what every layer
answers to ``get_kv_cache_spec``. A case is {"id", "path", "options", "tp", "load"}; without "load" no weight is read.

For ``tp`` above one a single process builds the part of the first of so many devices: vLLM asks its group for the
number, and here the group is told to give it. Only what has a shape is looked at, nothing is computed.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from typing import Any

from . import vllm_kernels as kernels
from .vllm import versions

BATCHED = 8192
"""Tokens of one step, which a window's layers hold beside the window."""


def nbytes(value: Any) -> int:
    """Bytes of a tensor, of a bitsandbytes state, or of a dict of them."""
    if isinstance(value, dict):
        return sum(map(nbytes, value.values()))
    if hasattr(value, "absmax"):
        return nbytes(value.absmax) + nbytes(value.code) + (nbytes(value.state2) if value.nested else 0)
    return int(value.nbytes) if hasattr(value, "nbytes") else 0


def weights(model: Any) -> dict[str, int]:
    """Bytes of parameters, persistent buffers, other buffers and bitsandbytes states, each memory once."""
    found = {"parameters": 0, "buffers": 0, "tables": 0, "states": 0}
    kept = model.state_dict(keep_vars=True).keys()
    seen = set()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        key = (tensor.data_ptr(), tensor.nbytes) if tensor.device.type != "meta" else id(tensor)
        if key in seen or not tensor.nbytes:
            continue
        seen.add(key)
        is_parameter = hasattr(tensor, "requires_grad") and type(tensor).__name__ != "Tensor"
        kind = "parameters" if is_parameter else "buffers" if name in kept else "tables"
        found[kind] += tensor.nbytes
        found["states"] += nbytes(getattr(tensor, "bnb_quant_state", None))
    return found


def parts(model: Any) -> dict[str, list[Any]]:
    """Every parameter and buffer with its type and shape, for whoever looks for a difference."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: [str(t.dtype), list(t.shape), nbytes(getattr(t, "bnb_quant_state", None))] for name, t in named
    }


def cache(config: Any) -> list[dict[str, Any]]:
    """What every layer keeps of a sequence."""
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    rows = []
    for name, spec in get_kv_cache_spec(config).items():
        row = {
            "layer": name,
            "kind": type(spec).__name__,
            "page": spec.page_size_bytes,
            "block": spec.block_size,
        }
        real = getattr(spec, "real_page_size_bytes", None)
        row |= {"state": real} if row["kind"] == "MambaSpec" else {}
        window = getattr(spec, "sliding_window", None) or getattr(spec, "attention_chunk_size", None)
        row |= {"window": window} if window else {}
        row["request"] = spec.max_memory_usage_bytes(config)
        rows.append(row)
    return rows


def build(case: dict[str, Any]) -> dict[str, Any]:
    """Build the model of one case and return what it holds; every group of devices is one device wide."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import base_loader, get_model

    base_loader.process_weights_after_loading = lambda *_: None
    tp = case.get("tp", 1)
    options = {"max_num_batched_tokens": BATCHED, "max_num_seqs": 8, **case.get("options", {})}
    if not case.get("load"):
        options["load_format"] = "dummy"
    config = EngineArgs(model=case["path"], skip_tokenizer_init=True, enforce_eager=True, **options)
    made = config.create_engine_config()
    made.parallel_config.tensor_parallel_size = tp
    with set_current_vllm_config(made):
        parallel_state.init_distributed_environment(1, 0, "tcp://127.0.0.1:29567", 0, backend="gloo")
        parallel_state.initialize_model_parallel(1, 1)
        parallel_state.get_tp_group().world_size = tp
        try:
            return held(get_model(vllm_config=made), made, case)
        finally:
            parallel_state.get_tp_group().world_size = 1
            parallel_state.destroy_model_parallel()


def held(model: Any, config: Any, case: dict[str, Any]) -> dict[str, Any]:
    """Return what a built model holds and keeps of a sequence."""
    found: dict[str, Any] = {"weights": weights(model), "context": config.model_config.max_model_len}
    if case.get("parts"):
        found["parts"] = parts(model)
    try:
        return {**found, "cache": cache(config)}
    except Exception as problem:
        return {**found, "cache_error": f"{type(problem).__name__}: {problem}"[:300]}


def start() -> tuple[dict[str, str], str]:
    """Return the versions and the device."""
    import torch

    torch.accelerator.synchronize = torch.accelerator.empty_cache = lambda *_: None
    return versions(), "cpu"


def observe(case: dict[str, Any], tell: Callable[..., None]) -> dict[str, Any]:
    """Measure one case; where this machine has no kernel for it, as one that has."""
    error = ""
    for support in (contextlib.nullcontext, kernels.any_kernel):
        try:
            with support():
                return build(case)
        except Exception as problem:
            error = error or f"{type(problem).__name__}: {problem}"[:500]
            if case.get("debug"):
                traceback.print_exc()
    return {"error": error}
