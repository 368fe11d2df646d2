"""A checkpoint that brings its own code: judged by the class of its name while their tensors agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import check
from ckptdoctor.model import Outcome
from ckptdoctor.rulebook.recipe import build
from tests.support.shipped import check_source, parse_target

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound" / "llama-bf16"
CODE = {"AutoModelForCausalLM": "modeling_own.LlamaForCausalLM"}


def _outcome(folder: Path, **changed: Any) -> Outcome:
    config = json.loads((SOUND / "config.json").read_text(encoding="utf-8"))
    folder.joinpath("config.json").write_text(json.dumps(config | changed), encoding="utf-8")
    weights = (SOUND / "model.safetensors").read_bytes()
    folder.joinpath("model.safetensors").write_bytes(weights)
    return check(folder, targets=["transformers==5.23.0"]).verdicts[0].outcome


@pytest.mark.parametrize(
    ("changed", "without", "beside"),
    [
        ({}, "ok", "ok"),
        ({"num_hidden_layers": 3}, "corrupt", "corrupt"),  # tensors are lost, none is of another class
        ({"model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"]}, "corrupt", "unknown"),
    ],
)
def test_own_code(tmp_path: Path, changed: dict[str, Any], without: str, beside: str) -> None:
    assert _outcome(tmp_path, **changed) == without
    assert _outcome(tmp_path, **changed, auto_map=CODE) == beside


_LAYERS = {
    "attention.wqkv.weight": [32, 16],
    "attention.wo.weight": [16, 16],
    "attention_norm.weight": [16],
    "ffn_norm.weight": [16],
    "feed_forward.w1.weight": [24, 16],
    "feed_forward.w2.weight": [16, 24],
    "feed_forward.w3.weight": [24, 16],
}
_INTERNLM2 = {
    "architectures": ["InternLM2ForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"},
    "bias": False,
    "hidden_size": 16,
    "intermediate_size": 24,
    "model_type": "internlm2",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 64,
}


def _internlm2() -> dict[str, list[int]]:
    """A checkpoint of a class that vLLM has and transformers lacks."""
    outer = {"model.tok_embeddings.weight": [64, 16], "model.norm.weight": [16], "output.weight": [64, 16]}
    layers = {f"model.layers.{i}.{name}": shape for i in (0, 1) for name, shape in _LAYERS.items()}
    return outer | layers


@pytest.mark.parametrize(
    ("damage", "vllm", "transformers"),
    [
        (lambda t: t, "ok", "unknown"),  # what the code in the checkpoint asks for beside these, nobody read
        (lambda t: {n: s for n, s in t.items() if "w2" not in n}, "corrupt", "corrupt"),
        (lambda t: t | {"model.layers.0.attention.wo.weight": [16, 8]}, "fails", "fails"),
        (lambda t: {f"foo.{n}": s for n, s in t.items()}, "fails", "unknown"),
        (lambda t: t | {"model.layers.0.attention.wo.bias": [16]}, "corrupt", "unknown"),
    ],
)
def test_a_class_that_only_vllm_has(damage: Any, vllm: Outcome, transformers: Outcome) -> None:
    tensors = {name: ["BF16", shape] for name, shape in damage(_internlm2()).items()}
    source = build({"config": _INTERNLM2, "tensors": tensors})
    targets = [parse_target("vllm==0.32.0"), parse_target("transformers==5.23.0")]
    found = {v.target.loader: v.outcome for v in check_source(source, targets).verdicts}
    assert found == {"vllm": vllm, "transformers": transformers}
