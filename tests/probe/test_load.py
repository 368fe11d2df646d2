"""The real thing: `ckptdoctor load` by the real transformers and PEFT (``CKPTDOCTOR_TF5``), as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ckptdoctor
from tests.observe.cases import load_cases, materialise
from tests.observe.paths import SOUND

PYTHON = os.environ.get("CKPTDOCTOR_TF5", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="CKPTDOCTOR_TF5 names no interpreter with transformers"),
]


SCHEMA = json.loads((Path(ckptdoctor.__file__).parent / "load.schema.json").read_text(encoding="utf-8"))
SPOILED = """
import torch
whole = torch.nn.Module.train
def train(model, mode=True):
    if hasattr(model, "lm_head"):
        model.model.layers[0].mlp.down_proj.weight.data[-1] *= 2
    return whole(model, mode)
torch.nn.Module.train = train
"""


def load(*args: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON of one load."""
    command = [sys.executable, "-m", "ckptdoctor", "load", *args, "--device", "cpu", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert ("the check was wrong here" in done.stderr) is (found["agrees"] is False)
    jsonschema.validate(found, SCHEMA)
    if found["log"]:
        Path(found["log"]).unlink()
    return done.returncode, found


def spoiled(place: Path) -> str:
    """Make an interpreter whose torch spoils a model once it is loaded."""
    (place / "sitecustomize.py").write_text(SPOILED, encoding="utf-8")
    python = place / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{place}" exec "{PYTHON}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def broken(name: str, into: Path) -> str:
    """Make the checkpoint of one recorded case."""
    return str(materialise(next(case for case in load_cases() if case.id == name), into))


def test_a_sound_checkpoint_is_accounted_for_to_the_last_parameter() -> None:
    code, found = load(str(SOUND / "llama-nf4"), "--python", PYTHON)
    assert (code, found["outcome"], found["agrees"]) == (0, "ok", True)
    assert found["compared"] == {"same": 21, "differ": [], "not_compared": []}
    assert found["logits_finite"] is True
    assert found["weights_bytes"] == pytest.approx(found["predicted"]["weights_bytes"], rel=0.001)
    assert 2 < found["predicted"]["as_16bit_bytes"] / found["weights_bytes"] < 3
    assert found["log"] is None
    assert {"import", "build", "compare", "generate"} <= found["seconds"].keys()


def test_a_silent_loss_is_corrupt_and_as_predicted(tmp_path: Path) -> None:
    code, found = load(broken("plain-head-missing", tmp_path), "--python", PYTHON)
    assert (code, found["outcome"], found["agrees"]) == (1, "corrupt", True)
    assert found["never_written"] == found["missing"] != []


def test_other_values_than_in_the_file_are_corrupt_and_a_mistake_of_ours(tmp_path: Path) -> None:
    """A torch that doubles the last row of one matrix once the model is loaded stands for a loader's own mistake."""
    code, found = load(str(SOUND / "llama-bf16"), "--python", spoiled(tmp_path), "--stage", "weights")
    assert (code, found["stage"], found["outcome"], found["agrees"]) == (1, "loaded", "corrupt", False)
    assert found["compared"]["differ"] == ["model.layers.0.mlp.down_proj.weight"]
    assert found["predicted"]["outcome"] == "ok"


def test_a_mistake_of_ours_makes_a_report_and_a_recipe(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ckptdoctor",
        "load",
        str(SOUND / "llama-bf16"),
        "--python",
        spoiled(tmp_path),
    ]
    command += ["--stage", "weights", "--device", "cpu", "--recipe", str(tmp_path / "recipe")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NOT as predicted" in done.stdout
    assert "observed: corrupt at loaded" in done.stderr
    assert "it shows the same" in done.stderr
    assert str(SOUND) not in done.stderr
    assert (tmp_path / "recipe" / "model.safetensors").stat().st_size < 722_176


def test_a_failure_has_its_rule(tmp_path: Path) -> None:
    code, found = load(broken("bnb4-absmax-missing", tmp_path), "--python", PYTHON)
    assert (code, found["cause"], found["agrees"]) == (1, "checkpoint", True)
    assert found["rules"][0] == "bnb/missing-companion"


def test_what_the_check_foresaw_explains_it_before_what_the_text_may_mean(tmp_path: Path) -> None:
    """transformers says that sizes differ; why they do, the check knows."""
    code, found = load(str(SOUND / "qwen2-ct-asym"), "--python", PYTHON)
    assert (code, found["outcome"], found["agrees"]) == (1, "fails", True)
    assert found["rules"][0] == found["predicted"]["because"][0] == "quant/method-refused"
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / "model.safetensors").write_bytes((SOUND / "llama-bf16" / "model.safetensors").read_bytes())
    code, found = load(str(nothing), "--python", PYTHON)
    assert (code, found["agrees"], found["rules"][0]) == (1, True, "shards/no-config")


def test_a_package_that_lacks_is_the_environments_fault() -> None:
    code, found = load(str(SOUND / "llama-gptq"), "--python", PYTHON)
    assert (code, found["outcome"], found["cause"]) == (3, "unknown", "environment")
    assert found["advice"]


def test_an_adapter_is_put_on_its_model() -> None:
    base = str(SOUND / "llama-nf4")
    code, found = load(str(SOUND / "llama-lora"), "--base", base, "--python", PYTHON, "--for", "peft")
    assert (code, found["loader"], found["outcome"], found["agrees"]) == (0, "peft", "ok", True)
    assert found["compared"]["differ"] == []
    assert found["compared"]["same"] == 29
