"""Let a release open every case where it runs here: an environment of its own, and the recorder in tests/observe."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.release.compared import newest_recorded
from tests.observe.paths import ROOT

TORCH = "torch==2.13.0"
BESIDE = {
    "transformers": (
        "bitsandbytes==0.50.2", "peft==0.21.2", "compressed-tensors==0.20.0", "torchao==0.18.0", "accelerate",
        "safetensors", "PyYAML",
    ),
    "peft": ("transformers==5.23.0", "bitsandbytes==0.50.2", "accelerate", "safetensors", "PyYAML"),
}  # fmt: skip
"""Loader → what its environment has besides, as `.ci/run` makes it. vLLM: see tests/observe/setup_vllm.sh."""


def environment(loader: str, version: str) -> str:
    """Return the interpreter of an environment with the release, made where there is none yet."""
    home = Path(os.environ.get("CKPTDOCTOR_CI_HOME", Path(tempfile.gettempdir(), "ckptdoctor-ci")))
    folder = home / f"{loader}-{version}"
    python = folder / "bin" / "python"
    installs = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (folder / "made").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        # torch first and alone: an index that offers a CPU build must not be passed over for a CUDA one
        subprocess.run([*installs, TORCH], check=True)
        subprocess.run([*installs, f"{loader}=={version}", *BESIDE[loader]], check=True)
        (folder / "made").touch()
    return str(python)


def observe(loader: str, version: str, python: str) -> None:
    """Record what the release does with the cases that the newest recorded one was given."""
    command = [sys.executable, "-m", "tests.observe.record", loader, "--python", python]
    since = newest_recorded(loader, version)
    subprocess.run([*command, *(["--like", since] if since else [])], check=True, cwd=ROOT)
    subprocess.run([sys.executable, "-m", "tests.observe.shown"], check=True, cwd=ROOT)
