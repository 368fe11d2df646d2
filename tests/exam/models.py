"""Build the models of the exam with the real transformers.

``python tests/exam/models.py OUT [NAME …]`` in its environment.

Each is written by ``save_pretrained`` in bfloat16 with values that no initialisation gives, so that a lost tensor
shows in the logits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "vocab_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 2,
    "n_positions": 64,
    "vocab_size": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BERT = {
    key: value
    for key, value in TEXT.items()
    if key not in ("num_key_value_heads", "bos_token_id", "eos_token_id")
}
MOE = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}
STATE = {
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
MODELS: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": TEXT,
    "Qwen3ForCausalLM": TEXT | {"head_dim": 32},
    "Gemma2ForCausalLM": TEXT | {"head_dim": 32},
    "GraniteForCausalLM": TEXT,
    "Cohere2ForCausalLM": TEXT | {"layer_types": ["full_attention"] * 3},
    "Glm4ForCausalLM": TEXT | {"head_dim": 32, "attention_bias": False},
    "Olmo2ForCausalLM": TEXT,
    "Starcoder2ForCausalLM": TEXT | {"use_bias": True},
    "GPTNeoXForCausalLM": BERT | {"bos_token_id": 1, "eos_token_id": 2},
    "FalconForCausalLM": {
        k: v for k, v in TEXT.items() if k not in ("intermediate_size", "num_key_value_heads")
    },
    "StableLmForCausalLM": TEXT,
    "OPTForCausalLM": BERT | {"ffn_dim": 96, "word_embed_proj_dim": 64, "bos_token_id": 1, "eos_token_id": 2},
    "GPT2LMHeadModel": GPT,
    "GPTBigCodeForCausalLM": GPT,
    "NemotronForCausalLM": TEXT | {"head_dim": 32},
    "PhiForCausalLM": TEXT,
    "MixtralForCausalLM": TEXT | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen3MoeForCausalLM": TEXT | MOE | {"head_dim": 32, "num_experts": 4},
    "OlmoeForCausalLM": TEXT | {"num_experts": 4, "num_experts_per_tok": 2},
    "DeepseekV3ForCausalLM": TEXT
    | MOE
    | {
        "num_key_value_heads": 2,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    }
    | {
        "q_lora_rank": 24,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 16,
        "v_head_dim": 16,
    },
    "Mamba2ForCausalLM": {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "vocab_size": 128,
        "num_heads": 4,
        "head_dim": 32,
    }
    | {"state_size": 16, "n_groups": 1, "chunk_size": 8, "pad_token_id": 0},
    "MambaForCausalLM": {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "vocab_size": 128,
        "state_size": 8,
        "pad_token_id": 0,
    },
    "BambaForCausalLM": TEXT | STATE | {"attn_layer_indices": [1]},
    "FalconH1ForCausalLM": TEXT | STATE | {"mamba_d_ssm": 128},
    "GraniteMoeHybridForCausalLM": TEXT
    | STATE
    | {"layer_types": ["mamba", "attention", "mamba"], "num_local_experts": 4, "num_experts_per_tok": 2}
    | {"shared_intermediate_size": 64},
    "JambaForCausalLM": TEXT
    | {
        "num_experts": 2,
        "mamba_d_state": 8,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    }
    | {"expert_layer_period": 2, "expert_layer_offset": 1},
    "Lfm2ForCausalLM": TEXT | {"layer_types": ["conv", "full_attention", "conv"]},
    "T5ForConditionalGeneration": {
        "d_model": 64,
        "d_kv": 32,
        "d_ff": 96,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 128,
    }
    | {"pad_token_id": 0, "decoder_start_token_id": 0},
    "BartForConditionalGeneration": {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "vocab_size": 128,
    }
    | {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 96,
        "decoder_ffn_dim": 96,
    }
    | {"max_position_embeddings": 64},
    "BertForSequenceClassification": BERT,
    "BertForMaskedLM": BERT,
    "RobertaForTokenClassification": BERT | {"pad_token_id": 0},
    "DistilBertForQuestionAnswering": {
        "dim": 64,
        "hidden_dim": 96,
        "n_layers": 3,
        "n_heads": 2,
        "vocab_size": 128,
    }
    | {"max_position_embeddings": 64},
    "ModernBertForSequenceClassification": BERT | {"cls_token_id": 1, "sep_token_id": 2},
    "DebertaV2ForSequenceClassification": BERT,
    "LlamaForSequenceClassification": TEXT | {"num_labels": 1},
    "Qwen2ForTokenClassification": TEXT,
}
"""Class → its settings; everything else is the class's own default."""


def build(name: str, settings: dict[str, Any], out: Path) -> None:
    """Write one model to ``out/NAME``."""
    import torch
    import transformers

    torch.manual_seed(len(name))
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**settings, dtype="bfloat16")).to(torch.bfloat16)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            centre = 1.0 if parameter.ndim == 1 and "norm" in key.lower() and key.endswith("weight") else 0.0
            parameter.copy_(torch.randn(parameter.shape) * 0.05 + centre)
    model.config.architectures = [name]
    model.save_pretrained(out / name)


def main() -> None:
    """Write the models that are asked for."""
    from tests.exam.more_models import MORE_MODELS

    every = MODELS | MORE_MODELS
    for wanted in sys.argv[2:] or every:
        try:
            build(wanted, every[wanted], Path(sys.argv[1]))
        except Exception as error:
            sys.stdout.write(f"{wanted}: {type(error).__name__}: {str(error)[:300]}\n")


if __name__ == "__main__":
    main()
