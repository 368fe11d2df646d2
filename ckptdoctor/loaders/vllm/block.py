"""What vLLM takes for the declaration of a quantisation.

https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/transformers_utils/config.py (get_config) and
``model_arch_config_convertor.py`` (get_quantization_config).
"""

from __future__ import annotations

from collections.abc import Mapping

from ...checkpoint.nouns import Checkpoint
from ...formats import registry

Block = Mapping[str, object]
_SIDECAR = "hf_quant_config.json"
BNB = "bitsandbytes"
"""The method, and the ``load_format`` that asks for it."""


def declaring(ckpt: Checkpoint) -> Block:
    """Return the object that declares the quantisation of ``ckpt``, empty when there is none."""
    block = ckpt.config.get("quantization_config")
    if block is None and (sidecar := ckpt.object(_SIDECAR)):
        return (
            sidecar
            if sidecar.get("quant_method")
            else {**sidecar, "quant_method": registry.method_at(_SIDECAR, ckpt.rulebook)}
        )
    if block is None:
        nested = ckpt.config.get("text_config")
        places = [ckpt.config.get("compression_config")]
        if isinstance(nested, dict):
            places += [nested.get("quantization_config"), nested.get("compression_config")]
        block = next((place for place in places if isinstance(place, dict)), None)
    return block if isinstance(block, dict) else {}


def method_of(block: Block) -> str:
    """Return the method that a block names, as ``ModelConfig._verify_quantization`` of config/model.py spells it."""
    return str(block.get("quant_method") or "").lower().replace("compressed_tensors", "compressed-tensors")


def declares_bnb(block: Block) -> bool:
    """Whether a block says bitsandbytes (vLLM then takes the weights as pre-quantised)."""
    return str(block.get("quant_method", "")).lower() == BNB
