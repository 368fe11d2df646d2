"""What layers keep of a sequence, against what vLLM's own layers answered when it was asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ckptdoctor.memory.cache import cache
from tests.memory.recorded import VLLM, models, rows
from tests.support.shipped import RULEBOOK

UNDESCRIBED = {"gemma4"}
"""Built by vLLM, and not described here: nothing is said of them."""
KINDS = {
    "FullAttentionSpec": "full",
    "SlidingWindowSpec": "window",
    "ChunkedLocalAttentionSpec": "chunk",
    "MLAAttentionSpec": "latent",
    "MambaSpec": "state",
}
IN_FLIGHT, CPU_BLOCK, CONTEXT = 8192, 128, 32768
"""What the recording was made with."""


def asked() -> list[Any]:
    told = [row for row in rows(VLLM) if row["case"] in models() and "cache" in row]
    return [
        pytest.param(row, id=f"{row['case']}-{row['tp']}") for row in told if row["case"] not in UNDESCRIBED
    ]


def said(row: dict[str, Any], **changes: Any) -> Any:
    dtype = row["options"].get("kv_cache_dtype", "auto")
    config = {**models()[row["case"]]["config"], **changes}
    return cache(config, RULEBOOK, dtype=dtype, devices=row["tp"])


@pytest.mark.parametrize("row", asked())
def test_every_layer_keeps_what_vllm_says_it_keeps(row: dict[str, Any]) -> None:
    found = said(row)
    assert found.unknown == ""
    mine: Counter[tuple[str, float, int]] = Counter()
    for item in found.layers:
        mine[item.kind, item.state or item.per_token, item.window] += item.count
    theirs: Counter[tuple[str, float, int]] = Counter()
    for item in row["cache"]:
        kept = item["state"] if "state" in item else item["page"] / item["block"]
        theirs[KINDS[item["kind"]], kept, item.get("window", 0)] += item["layers"]
    assert mine == theirs


@pytest.mark.parametrize("row", [item for item in asked() if item.values[0]["context"] == CONTEXT])
def test_a_sequence_takes_what_vllm_reserves_for_it(row: dict[str, Any]) -> None:
    """Block for block, but for blocks of 128 tokens on the CPU where a GPU has 16."""
    theirs = sum(item["request"] * item["layers"] for item in row["cache"])
    found = said(row)
    spare = sum(item.count * item.per_token for item in found.layers if item.kind in ("window", "chunk"))
    assert 0 <= theirs - found.of(CONTEXT, in_flight=IN_FLIGHT) <= 2 * CPU_BLOCK * spare


def test_the_kinds_of_attention_are_all_there() -> None:
    told = [param.values[0] for param in asked()]
    kinds = {KINDS[layer["kind"]] for row in told for layer in row["cache"]}  # type: ignore[index, call-overload]
    assert kinds == set(KINDS.values())
    assert len({row["case"] for row in told}) > 50  # type: ignore[index, call-overload]


def test_every_class_that_is_described_was_asked() -> None:
    asked_of = {param.values[0]["case"] for param in asked()}  # type: ignore[index, call-overload]
    assert set(RULEBOOK.memory()["cache"]) == {
        models()[name]["config"]["architectures"][0] for name in asked_of
    }


@pytest.mark.parametrize("case", sorted(UNDESCRIBED))
def test_of_others_nothing_is_said(case: str) -> None:
    found = cache(models()[case]["config"], RULEBOOK)
    assert "not described" in found.unknown
    assert not found.layers


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_key_value_heads": "two"}, "not a whole number"),
        ({"num_hidden_layers": 1 << 40}, "implausibly large"),
        ({"num_hidden_layers": -1}, "negative"),
        ({"architectures": []}, "without architectures"),
        ({"architectures": ["../secret"]}, "not described"),
    ],
)
def test_a_config_that_does_not_say_is_a_reason_not_a_number(changes: dict[str, Any], why: str) -> None:
    (row,) = (row for row in rows(VLLM) if (row["case"], row["tp"]) == ("llama", 1))
    assert why in said(row, **changes).unknown


def test_windows_of_half_the_layers_are_not_taken_for_none() -> None:
    (row,) = (row for row in rows(VLLM) if (row["case"], row["tp"]) == ("qwen2", 1))
    assert said(row, use_sliding_window=True, sliding_window=4096).unknown


@pytest.mark.parametrize(
    ("block", "dtype"),
    [
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "fp8"),
        ({"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}}, "fp8"),
        ({"quant_method": "gptq"}, "bfloat16"),
    ],
)
def test_a_checkpoint_that_asks_for_fp8_gets_half_the_bytes(block: dict[str, Any], dtype: str) -> None:
    (row,) = (row for row in rows(VLLM) if (row["case"], row["tp"]) == ("llama", 1))
    found, plain = said(row, quantization_config=block), said(row)
    assert found.dtype == dtype
    assert found.per_token == plain.per_token // (2 if dtype == "fp8" else 1)


def test_longer_and_more_never_take_less() -> None:
    for case in ("llama", "gemma3", "llama4", "jamba", "deepseek-v3"):
        found = cache(models()[case]["config"], RULEBOOK)
        taken = [found.of(context, in_flight=64) for context in range(1, 40000, 997)]
        assert taken == sorted(taken)
        assert found.of(100, 3) == 3 * found.of(100)
