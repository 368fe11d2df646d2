"""The library as a serving container uses it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckptdoctor import CheckpointError, check

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound"
VLLM = "vllm==0.32.0,vllm-bnb-plugin==0.0.3"


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A checkpoint whose shard ends early."""
    made = Path(shutil.copytree(SOUND / "llama-nf4", tmp_path / "cut-bnb-4bit"))
    weights = made / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    return made


def test_sound_passes() -> None:
    report = check(SOUND / "llama-nf4", targets=[VLLM, "transformers"])
    report.raise_for("vllm")
    report.raise_for(VLLM)
    report.raise_for("transformers")


def test_broken_raises_and_says_why(cut: Path) -> None:
    report = check(cut, targets=[VLLM])
    with pytest.raises(
        CheckpointError, match=r"cut-bnb-4bit fails in vllm==0.32.0.*\(container/truncated\)"
    ) as e:
        report.raise_for("vllm")
    assert e.value.verdict.outcome == "fails"
    assert e.value.report is report
    assert str(e.value).isprintable()


def test_wrong_precision_raises(tmp_path: Path) -> None:
    model = Path(shutil.copytree(SOUND / "llama-nf4", tmp_path / "model"))
    report = check(model, targets=["unsloth==2025.3.10,unsloth_zoo==2025.3.9,vllm==0.7.3"])
    assert report.verdicts[0].outcome != "ok"
    with pytest.raises(CheckpointError, match=r"in unsloth==2025\.3\.10"):
        report.raise_for("unsloth")


def test_unknown_passes_unless_it_is_not_to() -> None:
    report = check(SOUND / "llama-lora", targets=["peft==0.21.2"])
    report.raise_for("peft")
    with pytest.raises(CheckpointError, match=r"unknown in peft==0\.21\.2: .*base"):
        report.raise_for("peft", unknown=True)


def test_a_loader_that_was_not_judged_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"no verdict about 'vllm'; this report has: transformers=="):
        check(SOUND / "llama-nf4", targets=["transformers"]).raise_for("vllm")


def test_nothing_to_check_raises(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no safetensors file"):
        check(tmp_path, targets=["vllm"]).raise_for("vllm")


def test_abstaining_keeps_no_server_down() -> None:
    report = check(SOUND / "llama-nf4", targets=["vllm"])
    unknown = report._replace(verdicts=tuple(v._replace(outcome="unknown") for v in report.verdicts))
    unknown.raise_for("vllm")


def test_the_example_of_a_container(cut: Path) -> None:
    def start(model: Path) -> subprocess.CompletedProcess[str]:
        serve = [sys.executable, "-c", "print('serving')"]
        command = [sys.executable, ROOT / "examples" / "preflight.py", model, *serve]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert start(SOUND / "llama-nf4").stdout == "serving\n"
    begun = time.monotonic()
    stopped = start(cut)
    assert time.monotonic() - begun < 5
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr.startswith("not starting: ")
    assert start(cut / "absent").returncode == 1
