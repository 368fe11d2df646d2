"""The recipe "a loader" of CONTRIBUTING.md, followed to the letter: one folder and one YAML, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT

TOY = Path(__file__).parent / "toy"
NOT_NEEDED = ("__pycache__", "_rulebook", "architectures")
SOUND = ROOT / "fixtures" / "sound"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the source tree and put the loader into it."""
    top = tmp_path_factory.mktemp("tree")
    for folder in ("ckptdoctor", "rules"):
        shutil.copytree(ROOT / folder, top / folder, ignore=shutil.ignore_patterns(*NOT_NEEDED))
    needed = top / "rules" / "architectures"
    needed.mkdir()
    shutil.copy(ROOT / "rules" / "architectures" / "LlamaForCausalLM.yaml", needed)  # the others take seconds
    shutil.copytree(TOY / "onefile", top / "ckptdoctor" / "loaders" / "onefile")
    shutil.copy(TOY / "onefile.yaml", top / "rules" / "loaders")
    return top


@pytest.fixture
def verdicts(tree: Path, tmp_path: Path) -> Any:
    """Run the command of that tree and return version → verdict."""

    def asked(checkpoint: Path, target: str) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "ckptdoctor",
            "check",
            str(checkpoint),
            "--for",
            target,
            "--format",
            "json",
        ]
        env = {**os.environ, "PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tree / "cache")}
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
        assert not done.stderr, done.stderr
        return {verdict["version"]: verdict for verdict in json.loads(done.stdout)["verdicts"]}

    return asked


def _without(name: str, folder: Path) -> Path:
    """Copy a sound checkpoint, its norm renamed in the header (a name as long, so that offsets stay)."""
    shutil.copytree(SOUND / "llama-bf16", folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(name.encode(), name[::-1].encode()))
    return folder


def test_a_new_loader_judges_every_known_version(verdicts: Any) -> None:
    found = verdicts(SOUND / "llama-bf16", "onefile==*")
    assert {v: (row["outcome"], row["precision"]) for v, row in found.items()} == {
        "1.0.0": ("ok", "bf16"),
        "2.0.0": ("ok", "bf16"),
    }
    assert all(row["evidence"] == "source" for row in found.values())


def test_what_its_model_says_depends_on_its_yaml(verdicts: Any, tmp_path: Path) -> None:
    found = verdicts(_without("model.norm.weight", tmp_path / "model"), "onefile==*")
    assert {version: row["outcome"] for version, row in found.items()} == {
        "1.0.0": "corrupt",
        "2.0.0": "fails",
    }


def test_cards_speak_of_it_without_naming_it(verdicts: Any) -> None:
    found = verdicts(SOUND / "llama-nf4", "onefile==2.0.0")["2.0.0"]
    assert (found["outcome"], found["because"]) == ("corrupt", ["quant/undeclared-bnb-4bit"])


def test_it_abstains_from_what_it_does_not_open(verdicts: Any) -> None:
    found = verdicts(SOUND / "llama-bf16-sharded", "onefile")["2.0.0"]
    assert (found["outcome"], found["reason"]) == ("unknown", "onefile opens model.safetensors only")


def test_nobody_else_is_touched(tree: Path) -> None:
    def files(top: Path) -> Iterator[str]:
        for folder in ("ckptdoctor", "rules/loaders"):
            for path in sorted((top / folder).rglob("*")):
                if path.suffix in (".py", ".yaml") and "_rulebook" not in path.parts:
                    yield path.relative_to(top).as_posix()

    added = set(files(tree)).difference(files(ROOT))
    assert {path.rpartition("/")[0] for path in added if path.endswith(".py")} == {
        "ckptdoctor/loaders/onefile"
    }
    assert {path for path in added if path.endswith(".yaml")} == {"rules/loaders/onefile.yaml"}
