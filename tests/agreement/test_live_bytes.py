"""The bytes of weights that a report gives for transformers, against the memory of the model that is really loaded."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from ckptdoctor.engine import check_source
from ckptdoctor.sources import open_source
from ckptdoctor.targets import parse_target
from tests.conftest import ROOT
from tests.observe.paths import SOUND

PYTHON = os.environ.get("CKPTDOCTOR_TF5", "")
TOLERANCE = 0.001
"""bitsandbytes' quant_state is JSON in the file and a few numbers in memory; everything else is the very same."""
HELD = [
    *("llama-nf4", "llama-nf4-dq", "llama-nf4-skip", "llama-fp4", "llama-int8", "qwen2-nf4", "qwen3moe-nf4"),
    *("mistral-ct-w4a16", "mistral-ct-w8a8", "mistral-ct-fp8", "mistral-ct-nvfp4", "qwen2-ct-fp8-dynamic"),
    *("qwen2-ct-mixed", "qwen2-ct-mxfp4", "qwen3moe-ct-fp8", "qwen3moe-ct-w4a16", "llama-bf16", "phi3-bf16"),
]
"""Every scheme that transformers loads here. Block-scaled FP8 and MXFP4 are dequantised where there is no GPU."""
pytestmark = pytest.mark.slow


def test_the_bytes_in_the_report_are_those_in_memory() -> None:
    if not PYTHON:
        pytest.skip("CKPTDOCTOR_TF5 does not name an interpreter with transformers")
    command = [PYTHON, str(ROOT / "tests/observe/workers/memory.py"), *(str(SOUND / name) for name in HELD)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    measured = {
        path.rpartition("/")[2]: size
        for path, size in map(
            json.loads, (line for line in done.stdout.splitlines() if line.startswith('["'))
        )
    }
    assert sorted(measured) == sorted(HELD)
    target = parse_target("transformers==5.23.0")
    wrong = {}
    for name, size in measured.items():
        said = check_source(open_source(str(SOUND / name)), [target]).verdicts[0].weights
        if said is None or abs(said - size) > TOLERANCE * size:
            wrong[name] = (said, size)
    assert wrong == {}
