"""What ModelOpt declares, in config.json or in ``hf_quant_config.json``, as vLLM reads it (``modelopt.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import declared
from .layout import Layout

Block = Mapping[str, object]

_LAYOUTS = {
    "FP8": Layout("modelopt-fp8", per_tensor=True, static_input=True),
    "NVFP4": Layout("modelopt-nvfp4", bits=4, group=16, static_input=True),
}
_ALGORITHMS = frozenset(
    {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO", "NVFP4", "W4A16_NVFP4", "MXFP8", "MIXED_PRECISION"}
)
_NESTED_KEYS = ("group_size", "kv_cache_quant_algo", "exclude_modules")


def inner(block: Block) -> Block:
    """Return what declares: the object ``quantization`` of the older form, else the block itself."""
    found = block.get("quantization")
    return found if isinstance(found, dict) else block


def algorithm(block: Block) -> str:
    """Return ``quant_algo`` in capitals, "" when there is none."""
    return str(inner(block).get("quant_algo") or "").upper()


def layout(block: Block) -> Layout | None:
    """Return how weights are to be stored, None for an algorithm that is not modelled."""
    return _LAYOUTS.get(algorithm(block))


def listed(block: Block) -> tuple[str, ...]:
    """Return the modules that are left alone: ``exclude_modules`` in the older form, else ``ignore``."""
    older = isinstance(block.get("quantization"), dict)
    return declared.texts(inner(block).get("exclude_modules" if older else "ignore"))


def refused(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the keys that vLLM's ``from_config`` refuses, with their values."""
    name = algorithm(block)
    if name not in _ALGORITHMS:
        yield "quant_algo", name or "absent"
    elif name == "NVFP4" and "quantization" in block:
        for key in _NESTED_KEYS:
            if key not in inner(block):
                yield key, "absent"
