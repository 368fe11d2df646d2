"""The architectures to describe, and what a random configuration must respect for each.

`choices` maps a dotted configuration key to the values to draw from (None: leave the class default alone).
"""

from __future__ import annotations

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
    "T5ForConditionalGeneration": {
        "choices": {"feed_forward_proj": ["relu", "gated-gelu"], "is_gated_act": [], "dense_act_fn": []},
        "plain_names": True,
    },
    "T5EncoderModel": {
        "choices": {"feed_forward_proj": ["relu", "gated-gelu"], "is_gated_act": [], "dense_act_fn": []},
        "plain_names": True,
    },
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
    "PaliGemmaForConditionalGeneration": {},
    "Mistral3ForConditionalGeneration": {},
    "LlavaForConditionalGeneration": {},
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
    "DistilBertModel": {},
    "MPNetModel": {},
    "WhisperForConditionalGeneration": {},
    "DeepseekV32ForCausalLM": {**_NEXT_TOKEN_LAYERS, "requires": {"num_experts": []}},
    "Glm4MoeLiteForCausalLM": _NEXT_TOKEN_LAYERS,
    "GlmMoeDsaForCausalLM": {
        **_NEXT_TOKEN_LAYERS,
        "requires": {key: [] for key in ("num_experts", "index_topk_freq", "index_topk_pattern")},
    },
    "Lfm2ForCausalLM": {"requires": {"block_ff_dim": [], "tie_embedding": []}},
    "FalconH1ForCausalLM": {},
    "MambaForCausalLM": {},
    "BitNetForCausalLM": {},
    "SolarOpenForCausalLM": {},
    "FlexOlmoForCausalLM": {},
    "MptForCausalLM": {},
    "CodeGenForCausalLM": {},
    "GPTNeoForCausalLM": {},
    "InternVLForConditionalGeneration": {},
    "Glm4vMoeForConditionalGeneration": {},
    "SmolVLMForConditionalGeneration": {},
    "Idefics3ForConditionalGeneration": {},
    "Gemma4ForCausalLM": _gemma4(""),
    "ExaoneMoeForCausalLM": {},
    "MiMoV2FlashForCausalLM": {},
}
