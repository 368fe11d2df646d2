"""Whether it fits: sums against the parts they are made of, and against every neighbour of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckptdoctor.engine import examine
from ckptdoctor.memory.fitting import Demand, Fit, fit
from ckptdoctor.memory.gpus import GIB, Gpu, UnknownGpu, gpu, gpus
from ckptdoctor.memory.rough import step
from ckptdoctor.render import Page
from ckptdoctor.render.fit import Answer, as_json, as_text
from ckptdoctor.sources import open_source
from ckptdoctor.sources.base import Span
from ckptdoctor.sources.memory import MemorySource
from tests.memory.made import made
from tests.memory.recorded import models
from tests.observe.paths import SOUND
from tests.support.shipped import RULEBOOK, ask, parse_target

IN_VLLM = parse_target("vllm==0.32.0,vllm-bnb-plugin==0.0.3")


def reckoned(config: dict[str, Any], demand: Demand, tp: int = 1) -> Fit:
    source = made(config)
    assert not isinstance(source, str)
    return fit(*ask(source, IN_VLLM._replace(options={"tp": tp})), demand)


@pytest.mark.parametrize("case", ["llama", "gemma3", "llama4", "deepseek-v3", "qwen3-next"])
@pytest.mark.parametrize("batch", [1, 7])
def test_one_token_more_than_the_largest_context_does_not_fit(case: str, batch: int) -> None:
    config = models()[case]["config"]
    alone = reckoned(config, Demand(batch=batch, gpu=Gpu("", 2.0)))
    assert alone.weights.total is not None
    assert alone.need.activations is not None
    assert alone.need.cache is not None
    # a GPU on which about half of what was asked for has room; what a step takes is the same on all of this size
    beside = alone.weights.total + alone.need.activations
    tight = Gpu("tight", (beside + alone.need.cache / 2) / 0.92 / GIB)
    demand = Demand(batch=batch, gpu=tight)
    small = reckoned(config, demand)
    most = small.largest_context
    assert most
    assert small.fits is False
    assert small.context is not None
    assert most < small.context
    assert reckoned(config, demand._replace(context=most)).fits is True
    assert reckoned(config, demand._replace(context=most + 1)).fits is False


def test_the_largest_context_is_one_that_the_model_was_made_for() -> None:
    config = models()["llama"]["config"]
    found = reckoned(config, Demand(gpu=Gpu("", 1e4)))
    assert found.largest_context == config["max_position_embeddings"]


def test_the_total_is_the_sum_of_its_parts() -> None:
    found = reckoned(models()["llama"]["config"], Demand(context=4096, batch=3, gpu=gpu("L40S", RULEBOOK)))
    parts = (found.weights.total, found.need.cache, found.need.unpacked, found.need.activations)
    assert found.total == sum(part or 0 for part in parts)
    assert found.need.cache == 3 * 4096 * found.kept.per_token


def test_the_smallest_gpu_is_the_first_that_fits() -> None:
    config = models()["llama"]["config"]
    demand = Demand(context=32768, batch=4096)
    smallest = reckoned(config, demand).smallest
    assert smallest is not None
    fitting = {item.name: reckoned(config, demand._replace(gpu=item)).fits for item in gpus(RULEBOOK)}
    assert next(item.name for item in gpus(RULEBOOK) if fitting[item.name]) == smallest.name
    assert not all(fitting.values())


def test_more_devices_hold_less_each() -> None:
    config = models()["llama"]["config"]
    one, two = (reckoned(config, Demand(), tp).weights.total for tp in (1, 2))
    assert one is not None
    assert two is not None
    assert one / 2 < two < one


def test_what_is_not_known_is_no_number() -> None:
    config = {
        key: value for key, value in models()["llama"]["config"].items() if key != "max_position_embeddings"
    }
    found = reckoned(config, Demand(gpu=gpu("H100", RULEBOOK)))
    assert found.fits is None
    assert found.unknown
    assert found.smallest is None


def test_a_loader_that_is_no_server_has_weights_and_no_cache() -> None:
    target = parse_target("transformers==5.23.0")
    found = fit(*ask(open_source(str(SOUND / "llama-nf4")), target), Demand(gpu=gpu("24GB", RULEBOOK)))
    assert found.weights.total
    assert "not described" in found.kept.unknown
    assert found.fits is None


def test_packed_latent_attention_is_unpacked_beside() -> None:
    config = models()["deepseek-v3"]["config"]
    assert reckoned(config, Demand()).need.unpacked == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("h100", "H100"),
        ("NVIDIA L40S", "L40S"),
        ("rtx 4090", "RTX4090"),
        ("A100-40gb", "A100-40GB"),
        ("a100", "A100-80GB"),
    ],
)
def test_people_spell_gpus_as_they_like(text: str, name: str) -> None:
    assert gpu(text, RULEBOOK).name == name


@pytest.mark.parametrize("text", ["24GB", "24 GiB", "24", "24.0g"])
def test_a_size_will_do(text: str) -> None:
    assert gpu(text, RULEBOOK).memory == 24 * GIB


@pytest.mark.parametrize("text", ["0GB", "-3GB", "", "99999GB", "nvidia"])
def test_no_gpu_and_no_size(text: str) -> None:
    with pytest.raises(UnknownGpu):
        gpu(text, RULEBOOK)


def test_a_slip_is_told_what_was_meant() -> None:
    with pytest.raises(UnknownGpu, match="did you mean H100"):
        gpu("H1000", RULEBOOK)


def test_a_step_is_larger_on_a_larger_gpu() -> None:
    taken = [step(item.memory).tokens for item in gpus(RULEBOOK)]
    assert taken == sorted(taken)
    assert len(set(taken)) == 3


@pytest.mark.parametrize(
    "key", ["max_position_embeddings", "vocab_size", "intermediate_size", "num_attention_heads", "head_dim"]
)
@pytest.mark.parametrize("value", [10**400, 1 << 62, -1, 0, None, "2", True, [1]])
def test_absurd_numbers_end_in_a_reason_and_a_page(key: str, value: Any) -> None:
    source = made(models()["llama"]["config"])
    assert not isinstance(source, str)
    config = {**models()["llama"]["config"], key: value}
    whole = MemorySource(
        "made", {"config.json": json.dumps(config).encode(), "model.safetensors": weights_of(source)}
    )
    ckpt, reading = ask(whole, IN_VLLM)
    found = fit(ckpt, reading, Demand(gpu=gpu("H100", RULEBOOK)))
    verdict = examine(ckpt, [IN_VLLM], RULEBOOK.cards).verdicts[0]
    answer = Answer("made", found, verdict, (), None, RULEBOOK.digest)
    assert as_text(answer, Page())
    assert json.loads(as_json(answer))["fits"] is found.fits


def weights_of(source: MemorySource) -> bytes:
    (data,) = source.read_many([Span("model.safetensors", 0, None)])
    assert isinstance(data, bytes)
    return data
