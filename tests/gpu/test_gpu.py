"""``tests/gpu/run``: on a GPU as it stands; without one, that it goes as far as a CPU lets it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.gpu.observe import GPU


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "tests/gpu/run", *args], capture_output=True, text=True, check=False)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not GPU.exists(), reason=f"no NVIDIA GPU here ({GPU})")
def test_every_fixture_on_the_gpu(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


@pytest.mark.slow
def test_without_a_gpu_it_goes_as_far_as_the_cpu_lets_it(tmp_path: Path) -> None:
    """The environment is the one that `.ci/run` made."""
    python = os.environ.get("CKPTDOCTOR_TF5", "")
    if not python:
        pytest.skip("CKPTDOCTOR_TF5 names no interpreter with transformers")
    home = tmp_path / "home"
    home.mkdir()
    (home / "transformers-5.23.0-cpu").symlink_to(Path(python).parent.parent, target_is_directory=True)
    args = ["--device", "cpu", "--home", str(home), "--out", str(tmp_path / "out")]
    done = run(*args, "--loader", "transformers==5.23.0", "--family", "sound")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transformers==5.23.0 on cpu: " in done.stdout
    assert (tmp_path / "out" / "transformers-5.23.0.jsonl").stat().st_size > 10_000
