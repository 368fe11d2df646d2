"""The predicted bytes of weights in transformers, against the memory of the model that is really loaded."""

from __future__ import annotations

import os

import pytest

from ckptdoctor.memory.weights import weights
from ckptdoctor.probe.process import Limits, Worker
from ckptdoctor.sources import open_source
from tests.observe.paths import SOUND
from tests.support.shipped import ask, parse_target

PYTHON = os.environ.get("CKPTDOCTOR_TF5", "")
HELD = [
    *("llama-nf4", "llama-nf4-dq", "llama-nf4-skip", "llama-fp4", "llama-int8", "qwen2-nf4", "qwen3moe-nf4"),
    *("mistral-ct-w4a16", "mistral-ct-w8a8", "mistral-ct-fp8", "mistral-ct-nvfp4", "qwen2-ct-fp8-dynamic"),
    *("qwen2-ct-mixed", "qwen2-ct-mxfp4", "qwen3moe-ct-fp8", "qwen3moe-ct-w4a16", "llama-bf16", "phi3-bf16"),
    *("mistral-fp8", "qwen2-fp8", "qwen3moe-fp8", "gptoss-mxfp4", "llama-tied"),
]
"""Every scheme that transformers loads here; the last ones it dequantises where there is no GPU."""
pytestmark = pytest.mark.slow


def test_the_bytes_that_are_predicted_are_those_in_memory() -> None:
    if not PYTHON:
        pytest.skip("CKPTDOCTOR_TF5 does not name an interpreter with transformers")
    with Worker(PYTHON, "transformers", Limits(device="cpu")) as worker:
        worker.start()
        measured = {
            name: worker.ask({"path": str(SOUND / name), "options": {}, "until": "weights"}, 60.0)[
                "weights_bytes"
            ]
            for name in HELD
        }
    target = parse_target("transformers==5.23.0")
    said = {name: weights(*ask(open_source(str(SOUND / name)), target), device="cpu").total for name in HELD}
    assert said == measured
