"""Predicted bytes of weights against those that real loaders were seen to hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckptdoctor.memory.weights import weights
from ckptdoctor.sources import open_source
from ckptdoctor.sources.memory import MemorySource
from tests.memory.made import made, tensors
from tests.memory.recorded import TRANSFORMERS, VLLM, held, models, rows
from tests.memory.score import CORRUPT_THERE, IN_TRANSFORMERS, IN_VLLM
from tests.observe.paths import SOUND
from tests.support.headers import shard
from tests.support.shipped import ask, check_source

UNMADE = {"gemma4"}
"""Models of which a tensor's shape is not known here: no checkpoint can be made from the config."""
UNSPLIT = {
    "gpt2",
    "bigcode",
    "opt",
    "falcon-7b",
    "falcon-40b",
    "falcon-rw",
    "mamba",
    "mamba2",
    "granite-hybrid",
    "jamba",
    "falcon-h1",
}
"""Models that one device is predicted for, and several are not."""
UNLISTED = {
    "llama-classifier",
    "dots1",
    "phimoe",
    "qwen2-classifier",
    "qwen3-classifier",
    "solar-open",
    "ministral",
}
"""vLLM builds these through transformers, of which its model here says nothing."""
POOLED = {"bert-mlm", "bert-classifier", "bert-tokens", "roberta-classifier", "xlm-roberta-classifier"}
"""vLLM makes a pooler that no file has, or keeps a head in float32."""


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


@pytest.mark.parametrize("name", ["llama-nf4", "llama-int8", "mistral-ct-w4a16", "llama-gptq"])
def test_as_16_bit_is_what_the_dense_twin_takes(name: str) -> None:
    """Of weights alone: a head or an embedding that was left in 16 bits counts the same in both."""
    subject = ask(open_source(str(SOUND / name)), IN_VLLM)
    said = weights(*subject)
    assert 0 < (said.total or 0) < (said.as_16bit or 0)
    twin = {"llama-nf4": "llama-bf16", "llama-int8": "llama-bf16", "mistral-ct-w4a16": "mistral-bf16"}.get(
        name
    )
    if twin:
        dense = weights(*ask(open_source(str(SOUND / twin)), IN_TRANSFORMERS))
        assert said.as_16bit == dense.total == dense.as_16bit


TOLERANCE = 0.01
"""What there is beside, in models as tiny as these: scales of the attention, 16 bytes a layer."""


def in_vllm(*, built: bool) -> list[Any]:
    chosen = [row for row in rows(VLLM) if "weights" in row and (row["case"] in models()) is built]
    return [pytest.param(row, id=f"{row['case']}-{row['tp']}") for row in chosen]


@pytest.mark.parametrize("row", in_vllm(built=False))
def test_vllm_holds_what_is_predicted(row: dict[str, Any]) -> None:
    said = weights(*ask(open_source(str(SOUND / row["case"])), IN_VLLM))
    assert said.total == pytest.approx(held(row), rel=TOLERANCE)


@pytest.mark.parametrize("row", in_vllm(built=True))
def test_every_device_holds_what_is_predicted(row: dict[str, Any]) -> None:
    """Of models built for one, two and four devices; said as well is why nothing is known."""
    source = made(models()[row["case"]]["config"])
    if isinstance(source, str):
        assert row["case"] in UNMADE, source
        return
    target = IN_VLLM
    target = target._replace(options={**target.options, "tp": row["tp"]})
    said = weights(*ask(source, target))
    if row["case"] in UNLISTED:
        assert "registry" in said.unknown
        return
    if row["case"] in UNSPLIT and row["tp"] > 1:
        assert "split over devices" in said.unknown
        return
    if row["case"] in POOLED:
        assert 0 < held(row) - (said.total or 0) < 0.07 * held(row)
        return
    assert said.total == pytest.approx(held(row), rel=TOLERANCE)


def total(config: dict[str, Any], found: dict[str, tuple[int, ...]]) -> int | None:
    data = shard({name: ("BF16", shape) for name, shape in found.items()})
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": data}
    return weights(*ask(MemorySource("made", files), IN_VLLM)).total


def test_a_head_that_is_tied_is_held_once() -> None:
    config = {**models()["llama"]["config"], "tie_word_embeddings": True}
    found = tensors(config)
    assert not isinstance(found, str)
    assert "lm_head.weight" not in found
    both = {**found, "lm_head.weight": found["model.embed_tokens.weight"]}
    assert total(config, both) == total(config, found)
    assert total({**config, "tie_word_embeddings": False}, both) != total(config, found)


def test_layers_that_only_predict_further_tokens_are_not_held() -> None:
    config = models()["deepseek-v3"]["config"]
    found = tensors(config)
    assert not isinstance(found, str)
    count = config["num_hidden_layers"]
    last, beyond = f".layers.{count - 1}.", f".layers.{count}."
    more = {name.replace(last, beyond): shape for name, shape in found.items() if last in name}
    assert more
    assert total({**config, "num_nextn_predict_layers": 1}, {**found, **more}) == total(config, found)
