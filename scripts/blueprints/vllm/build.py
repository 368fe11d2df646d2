"""A model of vLLM with random sizes, on a CPU and without a checkpoint."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import types
from functools import cache
from pathlib import Path
from typing import Any

from .pictures import stand_in

os.environ.setdefault("VLLM_LOGGING_LEVEL", "CRITICAL")
stand_in()

import torch  # noqa: E402
from transformers import PretrainedConfig  # noqa: E402
from vllm.config import ModelConfig, VllmConfig, set_current_vllm_config  # noqa: E402
from vllm.distributed import init_distributed_environment, initialize_model_parallel  # noqa: E402
from vllm.model_executor.layers.fused_moe import unquantized_fused_moe_method  # noqa: E402
from vllm.model_executor.layers.fused_moe.oracle.unquantized import (  # noqa: E402
    UnquantizedMoeBackend,
    backend_to_kernel_cls,
)
from vllm.model_executor.model_loader.utils import get_model_architecture, initialize_model  # noqa: E402

_ANY = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "max_position_embeddings": 64,
    "vocab_size": 128,
}
"""What the folder says that vLLM asks for; ``hf_overrides`` puts the configuration in question in its place."""


def build(settings: PretrainedConfig) -> torch.nn.Module:
    """Return the model that vLLM builds for a configuration, its parameters in float32 and zero.

    Raises what vLLM raises about a configuration.
    """
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)  # the tensors are tiny
    with contextlib.redirect_stdout(io.StringIO()):
        _start()
        config = _vllm_config(lambda _: settings)
        config.compilation_config.static_forward_context.clear()
        _without_tokenizer(config)
        with torch.device("cpu"), set_current_vllm_config(config):
            model = initialize_model(config)
    for tensor in model.state_dict().values():
        tensor.zero_()
    return model


def _vllm_config(overrides: Any = None) -> VllmConfig:
    model = ModelConfig(
        model=_folder(),
        hf_overrides=overrides or {},
        skip_tokenizer_init=True,
        dtype="float32",
        enforce_eager=True,
        max_model_len=32,
    )
    return VllmConfig(model_config=model)


def _without_tokenizer(config: VllmConfig) -> None:
    """Some models look up a word of their tokenizer; any number will do."""
    module = sys.modules[get_model_architecture(config.model_config)[0].__module__]
    if hasattr(module, "cached_tokenizer_from_config"):
        words: dict[str, int] = collections.defaultdict(int)
        module.cached_tokenizer_from_config = lambda _: types.SimpleNamespace(vocab=words)


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="blueprints-")
    Path(folder, "config.json").write_text(json.dumps(_ANY))
    return folder


@cache
def _start() -> None:
    """Open the process groups of one that layers ask for their rank; of experts too, since the folder's has some."""
    config = _vllm_config()
    with set_current_vllm_config(config):
        where = Path(_folder(), "group").as_uri()
        init_distributed_environment(1, 0, where, 0, "gloo")
        initialize_model_parallel(1, 1)
    chosen = unquantized_fused_moe_method.select_unquantized_moe_backend

    def any_backend(*args: Any, **options: Any) -> Any:
        """Not every block of experts runs on a CPU, but each has the same parameters there."""
        try:
            return chosen(*args, **options)
        except NotImplementedError:
            backend = UnquantizedMoeBackend.CPU
            return backend, backend_to_kernel_cls(backend)[0]

    unquantized_fused_moe_method.select_unquantized_moe_backend = any_backend
