"""Predicted bytes of weights against those that real loaders were seen to hold."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.memory.weights import weights
from ckptdoctor.sources import open_source
from tests.memory.recorded import TRANSFORMERS, rows
from tests.observe.paths import SOUND
from tests.support.shipped import ask, check_source, parse_target

IN_TRANSFORMERS = parse_target("transformers==5.23.0")
CORRUPT_THERE = {"mistral-modelopt-fp8"}
"""transformers passes over what declares these, so that what it holds has nothing to do with the file."""


def measured(name: str) -> list[Any]:
    held = [row for row in rows(name) if "weights" in row and row["case"] not in CORRUPT_THERE]
    return [pytest.param(row, id=row["case"]) for row in held]


@pytest.mark.parametrize("row", measured(TRANSFORMERS))
def test_transformers_holds_exactly_what_is_predicted(row: dict[str, Any]) -> None:
    subject = ask(open_source(str(SOUND / row["case"])), IN_TRANSFORMERS)
    said = weights(*subject, device="cpu")
    assert said.unknown == ""
    assert said.total == row["weights"]
    assert sum(said.by_scheme.values()) == said.total


def test_what_was_not_loaded_is_called_so() -> None:
    assert len(measured(TRANSFORMERS)) >= 30
    for row in rows(TRANSFORMERS):
        if "weights" not in row:
            verdict = check_source(open_source(str(SOUND / row["case"])), [IN_TRANSFORMERS]).verdicts[0]
            assert verdict.outcome == "fails" or verdict.needs, row


def test_a_gpu_keeps_what_a_cpu_dequantises() -> None:
    subject = ask(open_source(str(SOUND / "mistral-fp8")), IN_TRANSFORMERS)
    there, here = weights(*subject, device="cuda"), weights(*subject, device="cpu")
    assert (there.total or 0) < (here.total or 0) == here.as_16bit


@pytest.mark.parametrize(
    "name", ["llama-nf4", "llama-int8", "mistral-ct-w4a16", "gptoss-mxfp4", "llama-gptq"]
)
def test_as_16_bit_is_what_the_dense_twin_takes(name: str) -> None:
    """Of weights alone: a head or an embedding that was left in 16 bits counts the same in both."""
    subject = ask(open_source(str(SOUND / name)), parse_target("vllm==0.32.0,vllm-bnb-plugin==0.0.3"))
    said = weights(*subject)
    assert 0 < (said.total or 0) < (said.as_16bit or 0)
    twin = {"llama-nf4": "llama-bf16", "llama-int8": "llama-bf16", "mistral-ct-w4a16": "mistral-bf16"}.get(
        name
    )
    if twin:
        dense = weights(*ask(open_source(str(SOUND / twin)), IN_TRANSFORMERS))
        assert said.as_16bit == dense.total == dense.as_16bit
