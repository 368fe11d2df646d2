"""What a re-save cures carries the very command, and the command cures it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

from .made import SOUND, contents, shard, tensors


def program(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ckptdoctor", *args]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ)
    )


def loaded(root: Path) -> dict[str, tuple[str, list[int], bytes]]:
    raw = (root / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__")
    return {
        n: (e["dtype"], e["shape"], raw[start + e["data_offsets"][0] : start + e["data_offsets"][1]])
        for n, e in header.items()
    }


def hole(root: Path) -> None:
    shard(root / "model.safetensors", loaded(root), gap=24)


def stray(root: Path) -> None:
    extra = {f"model.layers.{i}.mlp.extra.weight": ("BF16", [2], b"abcd") for i in range(2)}
    shard(root / "model.safetensors", loaded(root) | extra)


def pickled(root: Path) -> None:
    (root / "model.safetensors").unlink()
    shutil.copy(ROOT / "fixtures" / "pickles" / "zip.bin", root / "pytorch_model.bin")


def misnamed(root: Path) -> None:
    shutil.copy(ROOT / "fixtures" / "pickles" / "zip.bin", root / "model.safetensors")


CURED: dict[str, Callable[[Path], None]] = {
    "container/hole": hole,
    "structure/unexpected-tensor": stray,
    "shards/pickle-only": pickled,
    "container/zip-instead-of-weights": misnamed,
}


@pytest.mark.parametrize("rule", CURED)
def test_the_command_under_a_finding_cures_it(rule: str, tmp_path: Path) -> None:
    root = tmp_path / "a model"
    shutil.copytree(SOUND / "llama-bf16", root)
    CURED[rule](root)
    before = contents(root)
    found = json.loads(program("check", str(root), "--format", "json").stdout)["findings"]
    offered = [item["fix"]["command"] for item in found if item["rule"] == rule]
    assert len(set(offered)) == 1, found
    words = shlex.split(offered[0])
    assert words[:2] == ["ckptdoctor", "resave"]
    done = program(*words[1:])
    assert done.returncode in (0, 1), done.stderr  # torch's own tensors are not those of a Llama
    after = json.loads(program("check", words[3], "--format", "json").stdout)["findings"]
    assert rule not in [item["rule"] for item in after]
    assert contents(root) == before
    if rule in ("container/hole", "structure/unexpected-tensor"):
        assert done.returncode == 0
        assert tensors(Path(words[3])) == tensors(SOUND / "llama-bf16")


def test_usage(tmp_path: Path) -> None:
    source = str(SOUND / "llama-bf16")
    for args in (["--shard-size", "5 parsecs"], ["--rename", "a"], ["--drop", "nothing"]):
        done = program("resave", source, str(tmp_path / "out"), *args)
        assert done.returncode == 2, done
        assert not list(tmp_path.iterdir())
    done = program("resave", source, str(tmp_path / "out"), "--dry-run", "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["written"] is False
    assert not list(tmp_path.iterdir())
    assert program("resave", source, source).returncode == 2
    assert program("resave", str(tmp_path), str(tmp_path / "x")).returncode == 2
