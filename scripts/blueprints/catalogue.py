"""The architectures to describe, and what a random configuration must respect for each.

`choices` maps a dotted configuration key to the values to draw from (None: leave the class default alone).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Recipe = dict[str, Any]

# Layers for multi-token prediction are stored behind the main stack and are not part of it.
_NEXT_TOKEN_LAYERS: Recipe = {
    "extra_layers": [
        {"at": "model.layers.*", "from": "num_hidden_layers", "count": "num_nextn_predict_layers"}
    ],
    "absent": {"num_nextn_predict_layers": 0},
    "none": {"num_nextn_predict_layers": 0},
}


def _full_attention_interval(at: str) -> Recipe:
    """A key that the class reads only where `layer_types` is absent, and keeps nowhere."""
    key = f"{at}full_attention_interval"
    return {"choices": {key: [2, 3, 4]}, "absent": {key: 4}}


def _gemma4(at: str) -> Recipe:
    """Full-attention layers have dimensions of their own; a released config.json gives them by these keys."""
    choices: dict[str, Any] = {
        "per_layer_config": [],
        "global_head_dim": [34, 38, 46, 58, 62],
        "num_global_key_value_heads": [None, 1, 2, 3],
        "hidden_size_per_layer_input": [0, 53, 59, 61, 67, 71],
        "num_experts": [5, 6, 7, 8, 9],
        "top_k_experts": [2],
        "moe_intermediate_size": [73, 79, 83, 89, 97],
    }
    return {
        "choices": {at + key: values for key, values in choices.items()},
        "requires": {f"{at}per_layer_config": []},
    }


def _own_heads(
    heads: str, width: str, groups: str, state: str, whole: str | None = None
) -> Callable[[dict[str, Any], random.Random], None]:
    """State-space heads of a width of their own, whatever the hidden size is; ``whole`` is a key for all of them."""

    def draw(config: dict[str, Any], rng: random.Random) -> None:
        config[heads] = rng.choice([4, 6, 8, 12])
        config[width] = rng.choice([5, 7, 10, 14, 22])
        config[groups] = rng.choice([1, 2])
        config[state] = rng.choice([9, 11, 13, 15, 17])
        if whole is not None:
            config[whole] = config[heads] * config[width]

    return draw


def _pattern(config: dict[str, Any], rng: random.Random) -> None:
    """Nemotron-H as released: a letter per layer, which newer files spell out as a list."""
    letters = {"linear_attention": "M", "moe": "E", "full_attention": "*", "mlp": "-"}
    kinds = config.pop("layers_block_type")
    config["hybrid_override_pattern"] = "".join(letters[kind] for kind in kinds)
    _own_heads("mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size")(config, rng)


def _state_heads(heads: str, width: str, expand: str) -> Callable[[dict[str, Any], random.Random], None]:
    """State-space heads share the widened hidden size among them."""

    def share(config: dict[str, Any], rng: random.Random) -> None:
        whole = config[expand] * config["hidden_size"]
        config[heads] = rng.choice([n for n in range(2, 60) if whole % n == 0])
        config[width] = whole // config[heads]
        groups = next((key for key in ("n_groups", "mamba_n_groups") if key in config), None)
        if groups:
            config[groups] = rng.choice([n for n in range(1, 9) if config[heads] % n == 0])

    return share


def _granite_hybrid(config: dict[str, Any], rng: random.Random) -> None:
    """Both kinds of layers: the class default has one."""
    config["layer_types"] = [
        rng.choice(("linear_attention", "full_attention")) for _ in config["layer_types"]
    ]
    _state_heads("mamba_n_heads", "mamba_d_head", "mamba_expand")(config, rng)


def _convolutions(config: dict[str, Any], rng: random.Random) -> None:
    """Both kinds of layers, as released: the class default has attention alone."""
    config["layer_types"] = [
        rng.choice(("conv", "full_attention")) for _ in range(config["num_hidden_layers"])
    ]


def _bamba(config: dict[str, Any], rng: random.Random) -> None:
    """Attention in some layers, by their numbers: the class default has none."""
    layers = config["num_hidden_layers"]
    config["attn_layer_indices"] = sorted(rng.sample(range(layers), rng.randrange(0, layers)))
    _state_heads("mamba_n_heads", "mamba_d_head", "mamba_expand")(config, rng)


_T5: Recipe = {
    "choices": {"feed_forward_proj": ["relu", "gated-gelu"], "is_gated_act": [], "dense_act_fn": []},
    "plain_names": True,
}


CATALOGUE: dict[str, Recipe] = {
    "LlamaForCausalLM": {},
    "MistralForCausalLM": {},
    "MixtralForCausalLM": {},
    "Qwen2ForCausalLM": {},
    "Qwen2MoeForCausalLM": {},
    "Qwen3ForCausalLM": {},
    "Qwen3MoeForCausalLM": {},
    "Qwen3NextForCausalLM": _full_attention_interval(""),
    "Qwen3_5ForCausalLM": _full_attention_interval(""),
    "Qwen3_5MoeForCausalLM": _full_attention_interval(""),
    "GemmaForCausalLM": {},
    "Gemma2ForCausalLM": {},
    "Gemma3ForCausalLM": {},
    "PhiForCausalLM": {},
    "Phi3ForCausalLM": {},
    "PhimoeForCausalLM": {},
    "GraniteForCausalLM": {},
    "GraniteMoeForCausalLM": {},
    "GraniteMoeSharedForCausalLM": {},
    "DeepseekV2ForCausalLM": {},
    "DeepseekV3ForCausalLM": _NEXT_TOKEN_LAYERS,
    "GptOssForCausalLM": {},
    "GPT2LMHeadModel": {},
    "GPTNeoXForCausalLM": {},
    "GPTJForCausalLM": {},
    "GPTBigCodeForCausalLM": {},
    "FalconForCausalLM": {"alias": {"hidden_size": ["n_embed"]}},
    "BloomForCausalLM": {"alias": {"hidden_size": ["n_embed"]}},
    "BloomModel": {"alias": {"hidden_size": ["n_embed"]}},
    "OPTForCausalLM": {
        "choices": {"word_embed_proj_dim": []},
        "requires": {"word_embed_proj_dim": [{"key": "hidden_size"}]},
    },
    "OPTForSequenceClassification": {
        "choices": {"word_embed_proj_dim": []},
        "requires": {"word_embed_proj_dim": [{"key": "hidden_size"}]},
    },
    "StableLmForCausalLM": {},
    "Starcoder2ForCausalLM": {},
    "CohereForCausalLM": {},
    "Cohere2ForCausalLM": {},
    "OlmoForCausalLM": {},
    "Olmo2ForCausalLM": {},
    "Olmo3ForCausalLM": {},
    "OlmoeForCausalLM": {},
    "SmolLM3ForCausalLM": {},
    "GlmForCausalLM": {},
    "Glm4ForCausalLM": {},
    "Glm4MoeForCausalLM": _NEXT_TOKEN_LAYERS,
    "MiniMaxForCausalLM": {},
    "MiniMaxM2ForCausalLM": {},
    "NemotronForCausalLM": {},
    "Exaone4ForCausalLM": {},
    "Ernie4_5ForCausalLM": {},
    "Ernie4_5_MoeForCausalLM": {},
    "Llama4ForCausalLM": {},
    "SeedOssForCausalLM": {},
    "ApertusForCausalLM": {},
    "ArceeForCausalLM": {},
    "HeliumForCausalLM": {},
    "HunYuanDenseV1ForCausalLM": {},
    "HunYuanMoEV1ForCausalLM": {},
    "Dots1ForCausalLM": {},
    "Ministral3ForCausalLM": {},
    "MinistralForCausalLM": {},
    "T5ForConditionalGeneration": _T5,
    "T5EncoderModel": _T5,
    **{
        f"{name}{head}": _T5
        for name in ("MT5", "UMT5")
        for head in ("ForConditionalGeneration", "EncoderModel")
    },
    "BambaForCausalLM": {"joint": _bamba},
    "M2M100ForConditionalGeneration": {},
    "BertModel": {},
    "BertForMaskedLM": {},
    "RobertaModel": {},
    "XLMRobertaModel": {},
    "ViTForImageClassification": {},
    "Qwen2VLForConditionalGeneration": {"flat": "text_config"},
    "Qwen2_5_VLForConditionalGeneration": {"flat": "text_config"},
    "Qwen3VLForConditionalGeneration": {},
    "Qwen3VLMoeForConditionalGeneration": {},
    "Gemma3ForConditionalGeneration": {},
    "PaliGemmaForConditionalGeneration": {"backbones": [{}, {"text_config": "gemma2"}]},
    "Mistral3ForConditionalGeneration": {
        "backbones": [{}, {"text_config": "ministral3"}, {"text_config": "mistral4"}]
    },
    "LlavaForConditionalGeneration": {
        "backbones": [
            {},
            {"text_config": "mistral", "vision_config": "pixtral"},
            {"text_config": "mistral", "vision_config": "clip_vision_model"},
            {"text_config": "qwen2", "vision_config": "siglip_vision_model"},
        ]
    },
    "LlavaNextForConditionalGeneration": {
        "backbones": [{}, {"text_config": "mistral"}, {"text_config": "qwen2"}]
    },
    "Granite4VisionForConditionalGeneration": {},
    # Its vision tower takes any width, but real widths are divisible by the heads.
    "Llama4ForConditionalGeneration": {
        "choices": {
            "vision_config.hidden_size": [96, 144, 192, 240, 288, 336],
            "vision_config.num_attention_heads": [2, 3, 4, 6, 8, 12],
        }
    },
    "FuyuForCausalLM": {},
    "Qwen3_5ForConditionalGeneration": _full_attention_interval("text_config."),
    "Qwen3_5MoeForConditionalGeneration": _full_attention_interval("text_config."),
    "Gemma4ForConditionalGeneration": {**_gemma4("text_config."), "parts": ["vision_config"]},
    "CLIPTextModelWithProjection": {"requires": {"text_config_dict": [None], "vision_config_dict": [None]}},
    "CLIPTextModel": {"requires": {"text_config_dict": [None], "vision_config_dict": [None]}},
    "CLIPModel": {"requires": {"text_config_dict": [None], "vision_config_dict": [None]}},
    **{
        f"DebertaV2{head}": {"choices": {"type_vocab_size": [0, 2, 3, 5, 7]}}
        for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
    },
    **{
        f"{name}{head}": {"choices": {"num_conv_pos_embedding_groups": [1, 2]}}
        for name in ("Wav2Vec2", "Hubert", "WavLM")
        for head in ("Model", "ForCTC", "ForSequenceClassification")
    },
    "Dinov2Model": {"choices": {key: [] for key in ("out_features", "out_indices", "stage_names")}},
    "DbrxForCausalLM": {"choices": {"tie_word_embeddings": [False]}},
    "LagunaForCausalLM": {"choices": {"moe_apply_router_weight_on_input": [False]}},
    "DistilBertModel": {},
    "MPNetModel": {},
    "WhisperForConditionalGeneration": {},
    "DeepseekV32ForCausalLM": {**_NEXT_TOKEN_LAYERS, "requires": {"num_experts": []}},
    "Glm4MoeLiteForCausalLM": _NEXT_TOKEN_LAYERS,
    "GlmMoeDsaForCausalLM": {
        **_NEXT_TOKEN_LAYERS,
        "requires": {key: [] for key in ("num_experts", "index_topk_freq", "index_topk_pattern")},
    },
    "Lfm2MoeForCausalLM": {"joint": _convolutions, "choices": {"num_dense_layers": [0, 1, 2, 3]}},
    "Lfm2ForCausalLM": {"joint": _convolutions, "requires": {"block_ff_dim": [], "tie_embedding": []}},
    "FalconH1ForCausalLM": {
        "joint": _own_heads("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_ssm")
    },
    "MambaForCausalLM": {},
    "BitNetForCausalLM": {},
    "SolarOpenForCausalLM": {},
    "FlexOlmoForCausalLM": {},
    "MptForCausalLM": {},
    "CodeGenForCausalLM": {},
    "GPTNeoForCausalLM": {},
    "InternVLForConditionalGeneration": {
        "backbones": [{}, {"text_config": "qwen3"}, {"text_config": "qwen3_moe"}, {"text_config": "llama"}]
    },
    "Glm4vMoeForConditionalGeneration": {},
    "SmolVLMForConditionalGeneration": {},
    "Idefics3ForConditionalGeneration": {},
    "GraniteMoeHybridForCausalLM": {"joint": _granite_hybrid},
    "Mamba2ForCausalLM": {"joint": _state_heads("num_heads", "head_dim", "expand")},
    "ZambaForCausalLM": {},
    "Gemma4ForCausalLM": _gemma4(""),
    "ExaoneMoeForCausalLM": {},
    "MiMoV2FlashForCausalLM": {},
    "NemotronHForCausalLM": {"joint": _pattern},
    "JambaForCausalLM": {
        "choices": {"mamba_dt_rank": [5, 7, 11, 13, 17, 19], "mamba_expand": [2, 3, 4]},
    },
}


def recipe_of(name: str) -> Recipe:
    """The recipe of a class, of transformers or of vLLM."""
    from .vllm.catalogue import CLASSES

    if name not in CLASSES:
        return CATALOGUE.get(name, {})
    return {**CLASSES[name].recipe, "model_types": list(CLASSES[name].model_types)}
