"""What `ckptdoctor load` by itself said of real loads (`fixtures/loaded`), against those loads beside a sound twin."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.observe.cases import load_cases
from tests.observe.score import SILENT
from tests.probe.record import LOADED, observed

FILES = sorted(path.stem for path in LOADED.glob("*.jsonl"))
SILENT_IN_VLLM = [
    *(
        "plain-down-missing",
        "plain-embed-missing",
        "plain-head-missing",
        "config-tied-flag-false",
        "plain-one-u8",
    ),
    *("gptq-scales-missing", "gptq-codes-missing", "awq-scales-missing", "awq-codes-missing"),
    *("ct-scale-missing", "ct-packed-missing", "ct-w8a8-scale-missing", "bnb4-dq-nested-absmax-missing"),
    *("bnb4-dense-model-with-config", "bnb4-one-dense-module"),
    *("qwen2-nf4-skip-qkv", "qwen2-nf4-skip-gate-up", "qwen2-nf4-skip-v"),
]
"""Loads that vLLM says nothing about: random weights, another precision than stored, scales that are codes."""
IN_THE_FILE = {
    "bnb4-state-blocksize-128",
    "bnb4-dq-state-offset-zero",
    "fp8-scale-rows-missing",
    "fp8-scale-transposed",
    "fp8-qwen2-scale-columns-missing",
    "lora-bias-missing",
    "shards-single-file-beside",
    "shards-tensor-in-two-last-wrong",
}
"""Harm that a load alone does not show: the loader holds just what the files say, and they say something wrong."""
NOT_LOOKED_AT = {
    "ct-asym-zeros-missing",
    "ct-w4a16-symmetric-declared-asymmetric",
    "moe-ct-w4a16-scale-rows-missing",
    "mxfp4-scales-missing",
    "mxfp4-blocks-missing",
    "mxfp4-scales-rows-missing",
    "mxfp4-bias-missing",
    "mxfp4-experts-missing",
}
"""Nobody has said here what vLLM makes of these parts of a file: the load tells them as not compared."""
CLOSER = {"lora-extra-pair"}
"""The twin lacks the same tensors; a load sees that they were dropped."""


def rows(name: str) -> dict[str, dict[str, Any]]:
    lines = (LOADED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["case"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("name", FILES)
def test_no_load_is_called_bad_that_was_not(name: str) -> None:
    beside = observed(*name.rsplit("-", 1))
    meant = {case.id: case.outcome for case in load_cases()}
    alarms = {
        case: (beside[case], row["outcome"])
        for case, row in rows(name).items()
        if row["outcome"] != beside[case] == "ok"
        and meant[case](beside[case]) == "ok"
        and row["outcome"] in SILENT
    }
    assert alarms.keys() <= CLOSER


@pytest.mark.parametrize("name", FILES)
def test_what_a_load_alone_does_not_show_is_known(name: str) -> None:
    beside = observed(*name.rsplit("-", 1))
    missed = {case for case, row in rows(name).items() if row["outcome"] == "ok" and beside[case] in SILENT}
    assert missed <= IN_THE_FILE | NOT_LOOKED_AT
    assert all(rows(name)[case]["not_compared"] for case in missed & NOT_LOOKED_AT)


@pytest.mark.parametrize("name", FILES)
def test_every_sound_fixture_that_loads_is_ok_or_at_the_precision_that_is_known(name: str) -> None:
    beside, found = observed(*name.rsplit("-", 1)), rows(name)
    sound = {case.id for case in load_cases(["sound"])} & found.keys()
    assert len(sound) > 40
    told = {
        case: (beside[case], found[case]["outcome"])
        for case in sound
        if found[case]["cause"] != "environment"
    }
    assert {case: words for case, words in told.items() if words[0] != words[1] and words[0] != "env"} == {}


@pytest.mark.parametrize("case", SILENT_IN_VLLM)
def test_what_vllm_does_silently_is_told_by_the_load_itself(case: str) -> None:
    row = rows("vllm-0.32.0")[case]
    assert row["outcome"] == observed("vllm", "0.32.0")[case] or case == "plain-one-u8"
    assert row["outcome"] in SILENT
    assert row["reasons"]
