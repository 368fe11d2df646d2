"""Random small configurations, with dimensions chosen so that no two formulas give the same number by habit."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from transformers import CONFIG_MAPPING

Config = dict[str, Any]

HEADS = (
    "num_attention_heads",
    "n_head",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "n_heads",
)
KV_HEADS = ("num_key_value_heads", "num_kv_heads")
WIDTHS = ("hidden_size", "n_embd", "d_model", "embed_dim", "dim")
LAYERS = (
    *("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers"),
    *("encoder_layers", "decoder_layers", "depth", "n_layers"),
)
_KINDS_OF_LAYERS = ("layers_block_type", "layer_types")
_PRIMES = [5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43]

# Switches that describe a call or a training run, not the modules of a model.
_NOT_STRUCTURE = re.compile(
    r"use_cache|output_|return_dict|is_|torchscript|gradient|scale_|tie_encoder|add_cross|norm_topk|use_sliding"
    r"|use_mup|remove_|decoder_start|apply_resid|hidden_size_per_layer|use_bidirectional"
)

# Class defaults that are null although every real file gives a number.
_DRAWN_THOUGH_NULL = ("q_lora_rank", "n_inner", "n_routed_experts", "n_shared_experts", "num_experts_per_tok")

_Draw = Callable[[random.Random], Any]


def _prime(low: int, high: int) -> _Draw:
    primes = [n for n in range(low, high) if all(n % k for k in range(2, int(n**0.5) + 1))]
    return lambda rng: rng.choice(primes)


def _between(low: int, high: int, step: int = 1) -> _Draw:
    return lambda rng: rng.randrange(low, high, step)


_RULES: list[tuple[re.Pattern[str], _Draw]] = [
    (re.compile(f"(?:{pattern})$"), draw)
    for pattern, draw in (
        (r"shared_intermediate_size", lambda rng: rng.choice([0, 53, 59, 61, 67, 71, 73])),
        (r"(\w*_)?vocab_size(_per_layer_input)?", _prime(300, 600)),
        (
            r"(\w*_)?intermediate_size(_mlp)?|ffn_dim|n_inner|d_ff|(en|de)coder_ffn_dim|ffn_hidden_size",
            _prime(50, 140),
        ),
        (r"(num|n)_(local|routed)?_?experts|moe_num_experts|num_local_experts", _between(5, 11)),
        (r"num_experts_per_tok|moe_k|num_experts_per_token", _between(1, 3)),
        (r"(n|moe_num|num)_shared_experts", _between(1, 4)),
        (r"first_k_dense_replace|moe_layer_start_index", _between(0, 4)),
        (r"moe_layer_end_index", _between(2, 7)),
        (r"q_lora_rank|kv_lora_rank|o_lora_rank", _prime(11, 50)),
        (r"qk_nope_head_dim|qk_rope_head_dim|v_head_dim|rotary_dim", _between(4, 40, 2)),
        (r"max_position_embeddings|n_positions|max_source_positions", _between(40, 90)),
        (r"type_vocab_size", _between(2, 9)),
        (
            r"decoder_sparse_step|moe_layer_interval|interleave_moe_layer_step|full_attention_interval",
            _between(1, 4),
        ),
        (r"(attn|expert)_layer_period", _between(2, 5)),
        (r"(attn|expert)_layer_offset", _between(0, 2)),
        (r"linear_(key|value)_head_dim", _between(4, 40, 2)),
        (r"linear_conv_kernel_dim", _between(2, 6)),
        (r"in_channels|num_channels", _between(2, 5)),
        (r"patch_size", _between(5, 12)),
        (r"temporal_patch_size|spatial_merge_size", _between(2, 5)),
        (r"out_hidden_size|projection_dim|word_embed_proj_dim", _prime(50, 140)),
        (r"num_position_embeddings", lambda rng: rng.randrange(5, 12) ** 2),
        (r"relative_attention_num_buckets", _between(8, 30)),
        (r"d_kv|num_mel_bins|max_target_positions|state_size|mamba_d_state|time_step_rank", _between(4, 40)),
        (r"conv_kernel|mamba_d_conv|conv_L_cache", _between(2, 6)),
        (r"index_head_dim|index_n_heads", _between(4, 40, 2)),
        (r"vision_output_dim|projector_input_dim|projector_output_dim|hidden_dim", _prime(50, 140)),
        (r"n_group|topk_group", lambda rng: 1),
    )
]


def draw(config_class: type[Any], rng: random.Random, recipe: Config) -> Config:
    """Draw one configuration as the plain dictionary that a config.json holds; `catalogue` says what a recipe is."""
    whole = config_class().to_dict()
    for part in recipe.get("parts", ()):
        whole[part] = config_class.sub_configs[part]().to_dict()
    for part, model_type in recipe.get("backbone", {}).items():
        whole[part] = CONFIG_MAPPING[model_type]().to_dict()
    overrides = recipe.get("choices", {})
    config = _section(whole, config_class, rng, overrides, "")
    for dotted, choices in overrides.items():
        if choices is None:
            continue
        *sections, leaf = dotted.split(".")
        place = config
        for section in sections:
            place = place[section]
        if choices:
            place[leaf] = rng.choice(choices)
        else:
            place.pop(leaf, None)
    _labels(config, rng)
    if "joint" in recipe:
        recipe["joint"](config, rng)
    return config


def _labels(config: Config, rng: random.Random) -> None:
    """A head's labels: by name, by number (older files), or left at the default of two."""
    names = {str(i): f"LABEL_{i}" for i in range(rng.randrange(1, 12))}
    for key in ("id2label", "label2id", "num_labels"):
        config.pop(key, None)
    spelling = rng.random()
    if spelling < 0.6:
        config["id2label"] = names
    elif spelling < 0.8:
        config["num_labels"] = len(names)


class _Stack(NamedTuple):
    """The layers of one section."""

    key: str | None
    """The key that counts them."""
    layers: int | None
    """How many there are by default."""
    count: int
    """How many were drawn."""


def _section(
    config: Config, config_class: type[Any] | None, rng: random.Random, overrides: dict[str, Any], at: str
) -> Config:
    config = {
        key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")
    }
    left_alone = {
        key[len(at) :] for key, choices in overrides.items() if choices is None and key.startswith(at)
    }
    stack = _stack(config, rng)
    for key, value in [pair for pair in config.items() if pair[0] not in left_alone]:
        if isinstance(value, dict) and key.endswith("_config"):
            inner = CONFIG_MAPPING.get(value.get("model_type")) or _sub_class(config_class, key)
            config[key] = _section(value, inner, rng, overrides, f"{at}{key}.")
        elif key == "num_hidden_layers" and "encoder_layers" in config:
            del config[key]  # it mirrors another key
        else:
            config[key] = _value(key, value, stack, rng)
    _heads(config, rng, left_alone, _head_dim_is_free(config_class))
    return config


def _stack(config: Config, rng: random.Random) -> _Stack:
    key = next((key for key in LAYERS if isinstance(config.get(key), int)), None)
    return _Stack(key, config[key] if key else None, rng.randrange(3, 7))


def _value(key: str, value: Any, stack: _Stack, rng: random.Random) -> Any:
    """Another value for a key, or the same where nothing hangs on it."""
    if key in LAYERS:
        return stack.count if key == stack.key else rng.randrange(3, 7)
    if isinstance(value, bool):
        return value if _NOT_STRUCTURE.match(key) else rng.random() < 0.5
    if _is_layers(key, value, stack.layers):
        return _layer_words(value, stack, rng)
    if key in ("mlp_only_layers", "moe_layers", "attn_layer_indices"):
        return sorted(rng.sample(range(stack.count), rng.randrange(0, stack.count)))
    if value is None or isinstance(value, int):
        return _number(key, value, rng)
    return value


def _number(key: str, value: int | None, rng: random.Random) -> int | None:
    if key == "pad_token_id":
        return None if value is None else 1
    rule = next((d for pattern, d in _RULES if pattern.match(key)), None)
    if rule is None or (value is None and key not in _DRAWN_THOUGH_NULL):
        return value
    return None if key == "q_lora_rank" and rng.random() < 0.3 else rule(rng)


def _is_layers(key: str, value: Any, layers: int | None) -> bool:
    """Whether a list says of each layer what it is."""
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        return False
    return len(value) == layers if layers else key in _KINDS_OF_LAYERS


def _layer_words(words: list[str], stack: _Stack, rng: random.Random) -> list[str]:
    kinds = sorted(set(words))
    drawn = [rng.choice(kinds) for _ in range(stack.count)]
    if stack.layers and "full_attention" in kinds:
        drawn[-1] = "full_attention"  # some classes force it
    return drawn


def _sub_class(config_class: type[Any] | None, key: str) -> type[Any] | None:
    found = getattr(config_class, "sub_configs", {}).get(key)
    return found if isinstance(found, type) and hasattr(found, "attribute_map") else None


def _head_dim_is_free(config_class: type[Any] | None) -> bool:
    """Whether `head_dim` may be given although the class has no such field."""
    return (
        config_class is not None
        and not isinstance(getattr(config_class, "head_dim", None), property)
        and "head_dim" not in config_class.attribute_map
    )


def _heads(config: Config, rng: random.Random, left_alone: set[str], free_head_dim: bool) -> None:
    """Draw heads, groups and widths together: they must divide each other."""
    free = config.keys() - left_alone
    heads_keys = [key for key in HEADS if key in free]
    kv_heads = rng.choice([1, 2, 3])
    heads = kv_heads * rng.choice([2, 3, 4, 5])
    config.update(dict.fromkeys(heads_keys, heads))
    config.update(dict.fromkeys([key for key in KV_HEADS if key in free], kv_heads))
    for key in [key for key in WIDTHS if key in free]:
        config[key] = 2 * heads * rng.choice(_PRIMES)
    if "linear_num_key_heads" in config:
        config["linear_num_key_heads"] = rng.choice([2, 3, 5])
        config["linear_num_value_heads"] = config["linear_num_key_heads"] * rng.choice([1, 2, 3])
    if heads_keys and ("head_dim" in config or free_head_dim) and "head_dim" not in left_alone:
        config.pop("head_dim", None)
        if rng.random() < 0.6:
            config["head_dim"] = 2 * rng.choice(_PRIMES)
