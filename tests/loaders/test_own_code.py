"""A checkpoint that brings its own code: judged by the class of its name while their tensors agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import check
from ckptdoctor.model import Outcome

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
