"""Numbers in config.json that cannot be: what transformers 5.23.0 did with each (tests/observe/numbers.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import check

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound"
RULES = ("config/value-refused", "config/value-impossible", "config/value-harmful")


def _told(
    folder: Path, base: str, changed: dict[str, Any], target: str = "transformers==5.23.0"
) -> tuple[str, list[str]]:
    """The outcome, and the keys that are found wrong by themselves."""
    place = folder / "model"
    shutil.copytree(SOUND / base, place)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps(config | changed), encoding="utf-8")
    report = check(place, targets=[target])
    found = [str(finding.facts["key"]) for finding in report.findings if finding.rule in RULES]
    return report.verdicts[0].outcome, found


@pytest.mark.parametrize(
    ("base", "changed", "outcome"),
    [
        ("llama-bf16", {"intermediate_size": -1}, "fails"),
        ("llama-bf16", {"num_hidden_layers": -1}, "fails-late"),
        ("llama-bf16", {"num_key_value_heads": "2"}, "fails"),
        ("llama-bf16", {"num_key_value_heads": True}, "fails"),
        ("llama-bf16", {"num_key_value_heads": [2]}, "fails"),
        ("llama-bf16", {"num_attention_heads": 0, "head_dim": None}, "fails"),
        ("llama-bf16", {"max_position_embeddings": 2.0}, "fails"),
        ("llama-bf16", {"rms_norm_eps": 0}, "fails"),
        ("llama-bf16", {"rms_norm_eps": 1.5}, "corrupt"),
        ("llama-bf16", {"initializer_range": 1.5}, "fails"),
        ("llama-bf16", {"num_attention_heads": 0}, "fails"),
        ("qwen3moe-bf16", {"decoder_sparse_step": 0}, "fails"),
        ("qwen3moe-bf16", {"head_dim": 2.0}, "fails"),
        ("qwen3moe-bf16", {"num_experts_per_tok": 0}, "corrupt"),
        ("qwen3moe-bf16", {"num_experts_per_tok": 5}, "fails-late"),
        ("qwen3moe-bf16", {"head_dim": True}, "fails"),
        ("gemma3-bf16", {"query_pre_attn_scalar": -1}, "fails-late"),
        ("gemma3-bf16", {"sliding_window": 0}, "fails-late"),
    ],
)
def test_a_number_that_cannot_be(tmp_path: Path, base: str, changed: dict[str, Any], outcome: str) -> None:
    said, found = _told(tmp_path, base, changed)
    assert said == outcome
    assert found == list(changed)[:1]


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ("llama-bf16", {"attention_dropout": 3}),
        ("qwen3moe-bf16", {"intermediate_size": -1}),  # no layer of this one is dense
        ("llama-bf16", {"eos_token_id": [2], "pad_token_id": -1}),
        ("llama-bf16", {"initializer_range": 1.0}),
        ("llama-bf16", {"max_position_embeddings": -1}),
        ("llama-bf16", {"pretraining_tp": None, "num_key_value_heads": 2}),
    ],
)
def test_a_number_that_harms_nothing(tmp_path: Path, base: str, changed: dict[str, Any]) -> None:
    assert _told(tmp_path, base, changed) == ("ok", [])


def test_transformers_4_checks_no_types(tmp_path: Path) -> None:
    assert _told(tmp_path, "llama-bf16", {"initializer_range": 1}, "transformers==4.57.6") == ("ok", [])


def test_a_size_beyond_any_tensor_does_not_fit(tmp_path: Path) -> None:
    assert _told(tmp_path, "llama-bf16", {"vocab_size": 1 << 49}) == ("fails", [])


def test_more_layers_than_can_be_told_apart(tmp_path: Path) -> None:
    assert _told(tmp_path, "llama-bf16", {"num_hidden_layers": 10**5}) == ("unknown", ["num_hidden_layers"])


def test_minus_one_layer_in_vllm(tmp_path: Path) -> None:
    assert _told(tmp_path, "llama-bf16", {"num_hidden_layers": -1}, "vllm==0.32.0")[0] == "fails"
