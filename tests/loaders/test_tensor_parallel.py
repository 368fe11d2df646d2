"""Tensor-parallel sizes in verdicts, and the bytes of weights on one device."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ckptdoctor.model import Verdict
from ckptdoctor.sources import open_source
from tests.observe.paths import SOUND
from tests.support.shipped import check_source, parse_target

PLUGIN = "vllm==0.32.0,vllm-bnb-plugin==0.0.3"


def verdict(path: Path, target: str) -> Verdict:
    """Return the verdict about one target."""
    return check_source(open_source(str(path)), [parse_target(target)]).verdicts[0]


@pytest.mark.parametrize(
    ("fixture", "sizes"),
    [
        ("mistral-bf16", (1, 2, 4)),  # 4 heads, 2 key heads
        ("mistral-ct-w4a16", (1, 2, 4)),  # groups of 32 in widths of 128
        ("mistral-ct-w8a8", (1, 2, 4)),  # one scale a row
        ("mistral-fp8", (1, 2, 4)),  # tiles of 32 x 32
        ("llama-gptq", (1, 2)),  # 2 heads
        ("llama-nf4", (1,)),  # bitsandbytes is never split
    ],
)
def test_sizes(fixture: str, sizes: tuple[int, ...]) -> None:
    assert verdict(SOUND / fixture, PLUGIN).tensor_parallel == sizes


@pytest.mark.parametrize(("group", "sizes"), [(16, (1, 2)), (64, (1,)), (-1, (1, 2))])
def test_the_group_limits_the_slices_of_the_input(tmp_path: Path, group: int, sizes: tuple[int, ...]) -> None:
    copy = shutil.copytree(SOUND / "llama-gptq", tmp_path / "model")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"]["group_size"] = group
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert verdict(copy, PLUGIN).tensor_parallel == sizes


def test_transformers_says_nothing_of_devices() -> None:
    assert verdict(SOUND / "mistral-bf16", "transformers==5.23.0").tensor_parallel is None


def test_a_size_that_does_not_come_out_fails() -> None:
    found = verdict(SOUND / "mistral-ct-w4a16", f"{PLUGIN},tp=3")
    assert (found.outcome, found.because) == ("fails", ("quant/tensor-parallel-size",))


def test_floats_are_counted_at_the_dtype_they_are_cast_to(tmp_path: Path) -> None:
    copy = shutil.copytree(SOUND / "llama-bf16", tmp_path / "model")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plain = verdict(SOUND / "llama-bf16", "transformers==5.23.0").weights
    wide = verdict(copy, "transformers==5.23.0").weights
    assert plain is not None
    assert wide == 2 * plain


def test_nothing_is_said_of_what_does_not_load() -> None:
    assert verdict(SOUND / "mistral-ct-w4a16", f"{PLUGIN},tp=3").weights is None
