"""Classes to describe off vLLM, each with the keys of a published config.json that its tensors may depend on."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

Plain = dict[str, Any]


class Published(NamedTuple):
    """One class, and what a config.json of one of its checkpoints says."""

    name: str
    model_types: tuple[str, ...]
    config: Plain
    recipe: Plain = {}
    builds: str = ""
    """The class of vLLM, where it has another name there today."""
    config_class: str = ""
    """The model_type under which vLLM has a configuration class of its own for these files."""
    backbone_keys: tuple[str, ...] = ()
    """Sections that may be of any model."""


_TEXT: Plain = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
_GROUPED = _TEXT | {"num_key_value_heads": 8}

_CHATGLM: Plain = {
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "apply_query_key_layer_scaling": True,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "ffn_hidden_size": 13696,
    "fp32_residual_connection": False,
    "hidden_size": 4096,
    "kv_channels": 128,
    "layernorm_epsilon": 1e-05,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 28,
    "original_rope": True,
    "padded_vocab_size": 65024,
    "post_layer_norm": True,
    "pre_seq_len": None,
    "rmsnorm": True,
    "seq_length": 8192,
    "tie_word_embeddings": False,
    "vocab_size": 65024,
}

_DEEPSEEK: Plain = {
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 1280,
    "intermediate_size": 6848,
    "kv_lora_rank": None,
    "max_position_embeddings": 8192,
    "moe_intermediate_size": 896,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 10,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 12,
    "num_key_value_heads": 10,
    "q_lora_rank": None,
    "qk_nope_head_dim": 0,
    "qk_rope_head_dim": 0,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_group": 1,
    "topk_method": "greedy",
    "use_mla": False,
    "v_head_dim": 0,
    "vocab_size": 129280,
}


def _chatglm(config: Plain, rng: random.Random) -> None:
    """Groups and channels go with the heads; both spellings of the vocabulary say the same."""
    heads = rng.choice([4, 6, 8, 10])
    config["num_attention_heads"] = heads
    config["kv_channels"] = rng.choice([8, 12, 16, 20])
    config["hidden_size"] = heads * config["kv_channels"]
    config["multi_query_group_num"] = rng.choice([n for n in (1, 2, 3, 4, 5) if heads % n == 0])
    config["padded_vocab_size"] = config["vocab_size"]


_NOT_IN_OCR = (
    *("hidden_act", "moe_layer_freq", "norm_topk_prob", "rms_norm_eps", "rope_theta"),
    *("routed_scaling_factor", "scoring_func"),
)
_OCR_TEXT = {
    **{key: _DEEPSEEK[key] for key in _DEEPSEEK if key not in _NOT_IN_OCR},
    "architectures": ["DeepseekV2ForCausalLM"],
    "lm_head": True,
    "rm_head": False,
}
_OCR: Plain = {
    "candidate_resolutions": [[1024, 1024]],
    "global_view_pos": "head",
    "language_config": _OCR_TEXT,
    "projector_config": {
        "input_dim": 2048,
        "model_type": "mlp_projector",
        "n_embed": 1280,
        "projector_type": "linear",
    },
    "tile_tag": "2D",
    "tie_word_embeddings": False,
    "vision_config": {
        "image_size": 1024,
        "mlp_ratio": 3.7362,
        "model_name": "deeplip_b_l",
        "model_type": "vision",
    },
}


def _ocr(config: Plain, rng: random.Random) -> None:
    """What leaves the vision towers goes into the language model."""
    config["projector_config"]["n_embed"] = config["language_config"]["hidden_size"]
    config["projector_config"]["input_dim"] = 2048


_INTERNVL: Plain = {
    "downsample_ratio": 0.5,
    "dynamic_image_size": True,
    "force_image_size": 448,
    "llm_config": {**_GROUPED, "model_type": "internlm2"},
    "max_dynamic_patch": 12,
    "min_dynamic_patch": 1,
    "ps_version": "v2",
    "select_layer": -1,
    "use_thumbnail": True,
    "vision_config": {
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "image_size": 448,
        "initializer_factor": 1.0,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-06,
        "model_type": "intern_vit_6b",
        "norm_type": "layer_norm",
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "qk_normalization": False,
        "qkv_bias": True,
    },
}
_LANGUAGE = {
    "internlm2": "InternLM2ForCausalLM",
    "llama": "LlamaForCausalLM",
}


def _internvl(config: Plain, rng: random.Random) -> None:
    """vLLM picks the language model by its class."""
    language = config["llm_config"]
    language["architectures"] = [_LANGUAGE[language["model_type"]]]


_ALL = (
    Published("InternLM2ForCausalLM", ("internlm2", "internlm"), _GROUPED | {"bias": False}),
    Published("PanguEmbeddedForCausalLM", ("PanguEmbedded",), _GROUPED | {"bias": True}),
    Published(
        "InternLM3ForCausalLM",
        ("internlm3",),
        _GROUPED | {"bias": False, "head_dim": 128, "qkv_bias": False},
    ),
    Published("OrionForCausalLM", ("orion",), _GROUPED),
    Published(
        "MiMoForCausalLM", ("mimo",), _GROUPED | {"attention_bias": True, "num_nextn_predict_layers": 1}
    ),
    Published(
        "MiniCPMForCausalLM",
        ("minicpm",),
        _GROUPED | {"dim_model_base": 256, "num_experts": 0, "scale_depth": 1.4, "scale_emb": 12},
        {"choices": {"num_experts": None}},
    ),
    Published(
        "StableLMEpochForCausalLM",
        ("stablelm_epoch",),
        _GROUPED | {"norm_eps": 1e-05, "rope_pct": 0.25, "use_qkv_bias": False},
        builds="StableLmForCausalLM",
    ),
    Published(
        "ChatGLMForConditionalGeneration", ("chatglm",), _CHATGLM, {"joint": _chatglm}, config_class="chatglm"
    ),
    Published("ChatGLMModel", ("chatglm",), _CHATGLM, {"joint": _chatglm}, config_class="chatglm"),
    Published(
        "PhiMoEForCausalLM",
        ("phimoe",),
        _GROUPED
        | {
            "attention_bias": True,
            "lm_head_bias": True,
            "num_experts_per_tok": 2,
            "num_local_experts": 16,
            "router_jitter_noise": 0.01,
        },
    ),
    Published(
        "DeepseekOCRForCausalLM",
        ("DeepseekOCR", "deepseek_vl_v2"),
        _OCR,
        {
            "joint": _ocr,
            "constants": True,
            "samples": 24,
            "choices": {
                **dict.fromkeys(map("language_config.{}_head_dim".format, ("qk_nope", "qk_rope", "v"))),
                **dict.fromkeys(map("language_config.{}_lora_rank".format, ("q", "kv"))),
                "language_config.use_mla": None,
            },
        },
        config_class="deepseek_vl_v2",
    ),
    Published(
        "InternVLChatModel",
        ("internvl_chat",),
        _INTERNVL,
        {
            "joint": _internvl,
            "constants": True,
            "choices": {"vision_config.patch_size": [14], "vision_config.num_channels": [3]},
            "requires": {"downsample_ratio": [0.5]},
            "backbones": [{}, {"llm_config": "llama"}],
        },
        backbone_keys=("llm_config",),
    ),
    Published("DeepseekForCausalLM", ("deepseek",), {**_DEEPSEEK, "tie_word_embeddings": False}),
)
CLASSES = {each.name: each for each in _ALL}
