"""The second exam's models: classes that the first has not, with or without a blueprint."""

from __future__ import annotations

from typing import Any

from tests.exam.models import BERT, GPT, MOE, STATE, TEXT

_WIDE = TEXT | {"head_dim": 32}
_MARIAN = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "vocab_size": 128,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 64,
}
MORE_MODELS: dict[str, dict[str, Any]] = {
    "MistralForCausalLM": _WIDE,
    "Phi3ForCausalLM": TEXT,
    "GemmaForCausalLM": _WIDE,
    "SmolLM3ForCausalLM": TEXT,
    "Exaone4ForCausalLM": _WIDE | {"layer_types": ["full_attention"] * 3, "sliding_window": None},
    "Ernie4_5ForCausalLM": _WIDE,
    "SeedOssForCausalLM": _WIDE,
    "HeliumForCausalLM": _WIDE,
    "ArceeForCausalLM": _WIDE,
    "GlmForCausalLM": _WIDE,
    "CohereForCausalLM": TEXT,
    "Qwen2ForCausalLM": TEXT,
    "HunYuanDenseV1ForCausalLM": _WIDE,
    "ApertusForCausalLM": TEXT,
    "Olmo3ForCausalLM": TEXT | {"layer_types": ["full_attention"] * 3},
    "GPTJForCausalLM": GPT | {"rotary_dim": 16},
    "BloomForCausalLM": {"hidden_size": 64, "n_layer": 3, "n_head": 2, "vocab_size": 128},
    "GraniteMoeForCausalLM": TEXT | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen2MoeForCausalLM": TEXT | MOE | {"num_experts": 4, "shared_expert_intermediate_size": 32},
    "Glm4MoeForCausalLM": _WIDE
    | MOE
    | {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "Ernie4_5_MoeForCausalLM": TEXT | {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 32},
    "FlexOlmoForCausalLM": TEXT | {"num_experts": 4, "num_experts_per_tok": 2},
    "NemotronHForCausalLM": TEXT
    | {"hybrid_override_pattern": "M*-", "mamba_num_heads": 4, "mamba_head_dim": 32, "ssm_state_size": 16}
    | {"n_groups": 1, "chunk_size": 8, "head_dim": 32},
    "Zamba2ForCausalLM": TEXT
    | STATE
    | {"mamba_ngroups": 1, "layers_block_type": ["mamba", "hybrid", "mamba"], "num_mem_blocks": 1}
    | {"n_mamba_heads": 4, "num_key_value_heads": 2, "mamba_headdim": 32},
    "RobertaForMaskedLM": BERT | {"pad_token_id": 0},
    "ElectraForSequenceClassification": BERT | {"embedding_size": 64},
    "AlbertForMaskedLM": BERT | {"embedding_size": 64},
    "XLMRobertaForSequenceClassification": BERT | {"pad_token_id": 0},
    "DistilBertForMaskedLM": {
        "dim": 64,
        "hidden_dim": 96,
        "n_layers": 3,
        "n_heads": 2,
        "vocab_size": 128,
        "max_position_embeddings": 64,
    },
    "Qwen3ForSequenceClassification": _WIDE | {"num_labels": 2},
    "MistralForTokenClassification": _WIDE,
    "MBartForConditionalGeneration": _MARIAN,
    "XGLMForCausalLM": {
        "d_model": 64,
        "ffn_dim": 96,
        "num_layers": 3,
        "attention_heads": 2,
        "vocab_size": 128,
    },
    "BioGptForCausalLM": BERT,
    "DiffLlamaForCausalLM": TEXT | {"num_key_value_heads": 2},
    "DogeForCausalLM": TEXT,
    "MinistralForCausalLM": _WIDE | {"layer_types": ["full_attention"] * 3},
}
"""Class → its settings."""
