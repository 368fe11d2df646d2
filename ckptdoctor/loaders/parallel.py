"""Over how many devices vLLM can split a model: heads, widths, groups and tiles that must come out whole.

``config/model.py`` of 0.32.0 asks for whole heads; ``models/llama.py`` for whole or repeated key heads; the layers for
whole columns; ``quantization/utils/fp8_utils.validate_fp8_block_shape`` for whole tiles;
``distributed/utils.verify_group_size_divides_partition`` for whole groups of a layer that is split along its input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint
from .quantised import declared
from .quantised.layout import Layout

MOST = 64
"""Sizes are looked at up to here."""
_VOCABULARY_PADDING = 64


class Sizes(NamedTuple):
    """What decides, in heads and elements."""

    heads: int
    key_heads: int
    head_width: int
    widths: tuple[int, ...]
    """Inner widths of the feed-forward blocks: dense, and of an expert."""
    vocabulary: int


def legal(ckpt: Checkpoint, method: str) -> tuple[int, ...] | None:
    """Return the tensor-parallel sizes (up to 64) that vLLM accepts, None where config.json does not tell."""
    sizes = _sizes(ckpt)
    if sizes is None:
        return None
    if method == "bitsandbytes":
        return (1,)  # its loader refuses pre-quantised weights on several devices
    layouts = tuple(_layouts(ckpt, method))
    return tuple(n for n in range(1, min(MOST, sizes.heads) + 1) if not why_not(sizes, layouts, n))


def why_not(sizes: Sizes, layouts: tuple[Layout, ...], n: int) -> str:
    """Return what does not come out whole on ``n`` devices, "" when everything does."""
    if sizes.heads % n:
        return f"{sizes.heads} attention heads"
    if sizes.key_heads % n and n % sizes.key_heads:
        return f"{sizes.key_heads} key-value heads"
    if -(-sizes.vocabulary // _VOCABULARY_PADDING) * _VOCABULARY_PADDING % n:
        return f"a vocabulary of {sizes.vocabulary}"
    for width in sizes.widths:
        if width % n:
            return f"an inner width of {width}"
    if n == 1:
        return ""
    inputs = (*sizes.widths, sizes.heads * sizes.head_width)
    outputs = (*inputs, max(sizes.key_heads // n, 1) * n * sizes.head_width)
    for layout in layouts:
        group = layout.block[1] if layout.block else layout.group
        for width in inputs:
            if group and width // n % group:
                return f"{width} inputs in groups of {group}"
        for width in outputs:
            if layout.block and width // n % layout.block[0]:
                return f"{width} outputs in tiles of {layout.block[0]}"
    return ""


def reason(ckpt: Checkpoint, method: str, n: int) -> str:
    """Return why ``n`` devices are refused, "" when they are not or config.json does not tell."""
    sizes = _sizes(ckpt)
    if sizes is None or n < 1 or method == "bitsandbytes":
        return ""
    return why_not(sizes, tuple(_layouts(ckpt, method)), n)


def _layouts(ckpt: Checkpoint, method: str) -> Iterator[Layout]:
    block = ckpt.config.get("quantization_config")
    block = block if isinstance(block, dict) else {}
    if method == "fp8":
        yield declared.fp8(block)
    elif method == "compressed-tensors":
        for group in declared.groups(block):
            # NVFP4 and MXFP4 kernels pad; their groups are far smaller than any slice
            if group.layout.format in ("pack-quantized", "float-quantized"):
                yield group.layout
    elif method in ("gptq", "awq", "auto_gptq", "auto_awq", "gptq_marlin", "awq_marlin"):
        layout = declared.awq(block) if "awq" in method else declared.gptq(block)
        if layout is not None:
            yield layout


def _sizes(ckpt: Checkpoint) -> Sizes | None:
    config: Mapping[str, object] = ckpt.config
    inner = config.get("text_config")
    if isinstance(inner, dict):
        config = inner
    heads = declared.number(config.get("num_attention_heads"), 0)
    hidden = declared.number(config.get("hidden_size"), 0)
    vocabulary = declared.number(config.get("vocab_size"), 0)
    latent = "kv_lora_rank" in config  # MLA has no key heads to split, and other widths
    width = declared.number(config.get("head_dim"), hidden // heads if heads else 0)
    widths = [declared.number(config.get(key), 0) for key in ("intermediate_size", "moe_intermediate_size")]
    if heads <= 0 or hidden <= 0 or vocabulary <= 0 or width <= 0 or not any(n > 0 for n in widths) or latent:
        return None
    keys = declared.number(config.get("num_key_value_heads"), heads)
    return Sizes(heads, max(keys, 1), width, tuple(n for n in widths if n > 0), vocabulary)
