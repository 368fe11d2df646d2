"""Folders of which no loader can look at the weights: never exit 0 in a gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ckptdoctor.cli import main
from tests.observe.paths import SOUND


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    model = tmp_path / "m"
    shutil.copytree(SOUND / "llama-bf16", model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(1000))
    return model


def code(*args: str) -> int:
    return main([*args])


def test_pickles_alone_stop_a_gate(pickled: Path) -> None:
    assert code("check", str(pickled)) == 0
    assert code("check", str(pickled), "--fail-on", "unknown") == 1
    assert code("hook", str(pickled / "pytorch_model.bin")) == 1


def test_an_adapter_of_pickles_stops_a_gate(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-lora", tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").rename(tmp_path / "a" / "adapter_model.bin")
    assert code("check", str(tmp_path / "a"), "--fail-on", "unknown") == 1
    assert code("hook", str(tmp_path / "a" / "adapter_config.json")) == 1


def test_what_is_only_not_known_stops_none(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-bf16", tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    value = {**json.loads(file.read_text()), "model_type": "newer", "architectures": ["NewerForCausalLM"]}
    file.write_text(json.dumps(value))
    assert code("check", str(tmp_path / "m"), "--fail-on", "unknown") == 0
    assert code("hook", str(file)) == 0


def test_gguf_alone_says_who_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m-Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(20))
    assert code("check", str(tmp_path)) == 3
    page = capsys.readouterr().out
    assert "llama.cpp" in page
    assert "m-Q4_K_M.gguf" in page
