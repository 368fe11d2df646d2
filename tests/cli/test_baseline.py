"""Baselines: known findings pass, more victims and other causes do not, and what is gone is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ckptdoctor.cli import main

from ..conftest import ROOT
from ..observe.cases import load_cases, materialise

Capture = pytest.CaptureFixture[str]
FOR = ("--for", "vllm==0.32.0,vllm-bnb-plugin==0.0.3")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A 4-bit checkpoint, in the working directory, that lost an absmax."""
    monkeypatch.chdir(tmp_path)
    [case] = [case for case in load_cases() if case.id == "bnb4-absmax-missing"]
    made = materialise(case, tmp_path / "made")
    shutil.move(made, tmp_path / "model")
    return Path("model")


def cut(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def test_what_is_known_passes_and_what_is_new_does_not(model: Path, capsys: Capture) -> None:
    assert main(["check", "model", *FOR]) == 1
    assert main(["check", "model", *FOR, "--write-baseline", "known.json"]) == 0
    assert "accepted" in capsys.readouterr().err
    assert main(["check", "model", *FOR, "--baseline", "known.json"]) == 0
    assert "accepted" in capsys.readouterr().out
    cut(model)
    assert main(["check", "model", *FOR, "--baseline", "known.json", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert "container/truncated" in {finding["rule"] for finding in found["findings"]}
    assert {item["reason"] for item in found["suppressed"]} == {"in the baseline"}


def test_more_victims_are_new(model: Path, capsys: Capture) -> None:
    main(["check", "model", *FOR, "--write-baseline", "known.json"])
    known = json.loads(Path("known.json").read_text())
    for entry in known["checkpoints"]["model"].values():
        entry["count"] -= 1
    Path("known.json").write_text(json.dumps(known))
    assert main(["check", "model", *FOR, "--baseline", "known.json"]) == 1


def test_what_is_gone_is_told_and_dropped(model: Path, capsys: Capture) -> None:
    cut(model)
    main(["check", "model", *FOR, "--write-baseline", "known.json"])
    before = len(json.loads(Path("known.json").read_text())["checkpoints"]["model"])
    shutil.rmtree(model)
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-nf4", model)
    capsys.readouterr()
    assert main(["check", "model", *FOR, "--baseline", "known.json"]) == 0
    err = capsys.readouterr().err
    assert err.count("no longer found") == before
    assert "container/truncated" in err
    main(["check", "model", *FOR, "--baseline", "known.json", "--select", "bnb/"])
    assert capsys.readouterr().err == ""  # rules that did not run say nothing
    main(["check", "model", *FOR, "--write-baseline", "known.json"])
    assert json.loads(Path("known.json").read_text())["checkpoints"] == {}


def test_the_settings_may_name_it_and_others_are_kept(model: Path, capsys: Capture) -> None:
    shutil.copytree(model, "second")
    main(["check", "model", *FOR, "--write-baseline", "known.json"])
    main(["check", "second", *FOR, "--write-baseline", "known.json"])
    assert set(json.loads(Path("known.json").read_text())["checkpoints"]) == {"model", "second"}
    Path("ckptdoctor.toml").write_text('baseline = "known.json"\n')
    assert main(["check", "model", "second", *FOR]) == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "checkpoints": {}}', '{"schema": 1}'])
def test_no_baseline(text: str, model: Path, capsys: Capture) -> None:
    Path("known.json").write_text(text)
    assert main(["check", "model", *FOR, "--baseline", "known.json"]) == 2
    assert "known.json" in capsys.readouterr().err
