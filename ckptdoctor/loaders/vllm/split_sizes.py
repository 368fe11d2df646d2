"""The sizes in config.json that decide over how many devices a model can be split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Config = Mapping[str, object]


class Sizes(NamedTuple):
    """What decides, in heads and elements."""

    heads: int
    key_heads: int
    """0 where keys and values have no heads of their own to split (latent attention)."""
    head_width: int
    dense: tuple[int, ...]
    """Inner widths of the feed-forward blocks outside the experts."""
    experts: tuple[int, ...]
    """Inner width of an expert."""
    attention_inputs: tuple[int, ...]
    """Columns of the layers of the attention that are split along their input."""
    attention_outputs: tuple[int, ...]
    """Rows of those that are split along their output, keys and values aside."""
    hidden: int
    vocabulary: int


def of_config(config: Config) -> Sizes | None:
    """Return the sizes of the language model, None where one is missing."""
    inner = config.get("text_config")
    if isinstance(inner, dict):
        config = inner
    heads = _number(config.get("num_attention_heads"), 0)
    hidden = _number(config.get("hidden_size"), 0)
    vocabulary = _number(config.get("vocab_size"), 0)
    width = _number(config.get("head_dim"), hidden // heads if heads > 0 else 0)
    dense, experts = tuple(_dense(config)), tuple(_experts(config))
    if heads <= 0 or hidden <= 0 or vocabulary <= 0 or width <= 0 or not (dense or experts):
        return None
    if "kv_lora_rank" in config:
        inputs, outputs = _latent(config, heads)
        return Sizes(heads, 0, width, dense, experts, inputs, outputs, hidden, vocabulary)
    keys = max(_number(config.get("num_key_value_heads"), heads), 1)
    whole = (heads * width,)
    return Sizes(heads, keys, width, dense, experts, whole, whole, hidden, vocabulary)


def _latent(config: Config, heads: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what latent attention splits: ``o_proj`` along its input, ``q_b_proj`` and ``kv_b_proj`` by heads."""
    plain, turned, value = (
        _number(config.get(key), 0) for key in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    if min(plain, turned, value) <= 0:
        return (), ()
    return (heads * value,), (heads * (plain + turned), heads * (plain + value))


_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_SPARSE = frozenset({"qwen2_moe", "qwen3_moe"})
"""Types that tell by their keys whether any layer is dense."""


def _has_experts(config: Config) -> bool:
    return any(_number(config.get(key), 0) > 1 for key in _COUNTS)


def _experts(config: Config) -> Iterator[int]:
    key = "moe_intermediate_size" if "moe_intermediate_size" in config else "intermediate_size"
    width = _number(config.get(key), 0)
    if width > 0 and (_has_experts(config) or key == "moe_intermediate_size"):
        yield width


def _dense(config: Config) -> Iterator[int]:
    width = _number(config.get("intermediate_size"), 0)
    own = "moe_intermediate_size" in config
    step = _number(config.get("decoder_sparse_step"), 1)
    unused = (
        str(config.get("model_type")) in _SPARSE and own and step == 1 and not config.get("mlp_only_layers")
    ) or (_has_experts(config) and not own)
    if width > 0 and not unused:
        yield width
    shared = _number(config.get("shared_expert_intermediate_size"), 0)
    count = _number(config.get("n_shared_experts"), 0)
    shared = shared or count * _number(config.get("moe_intermediate_size"), 0)
    if shared > 0:
        yield shared


def _number(value: object, otherwise: int) -> int:
    return value if type(value) is int else otherwise
