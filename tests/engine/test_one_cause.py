"""One cause is one finding: what follows from it is inside, and neither first nor last on the page is a consequence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import baseline, check, settings
from ckptdoctor.model import Report
from ckptdoctor.render import Page
from ckptdoctor.render.json import as_dict
from ckptdoctor.render.text import render
from tests.observe import ops
from tests.observe.paths import SOUND

Change = Callable[[Path], None]


def config(**changes: Any) -> Change:
    def change(directory: Path) -> None:
        file = directory / "config.json"
        value = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))

    return change


def block_of(sound: str) -> Change:
    return config(
        quantization_config=json.loads((SOUND / sound / "config.json").read_text())["quantization_config"]
    )


def without(pattern: str) -> Change:
    return lambda directory: ops.OPERATIONS["drop-tensor"](directory, pattern)


DAMAGES: dict[str, tuple[str, Change, str, set[str]]] = {
    "a lost shard": (
        "llama-bf16-sharded",
        lambda directory: (directory / "model-00002-of-00004.safetensors").unlink(),
        "shards/missing-file",
        {"structure/missing-linear", "structure/missing-norm"},
    ),
    "a lost shard with the embedding": (
        "llama-nf4-sharded",
        lambda directory: (directory / "model-00002-of-00004.safetensors").unlink(),
        "shards/missing-file",
        {"structure/missing-embedding", "structure/missing-linear", "structure/missing-norm"},
    ),
    "a lost quantization_config": (
        "llama-nf4",
        config(quantization_config=None),
        "quant/undeclared-bnb-4bit",
        set(),
    ),
    "a lost block of another format": (
        "mistral-ct-w4a16",
        config(quantization_config=None),
        "quant/undeclared",
        {"structure/unexpected-tensor"},
    ),
    "a GPTQ config over bitsandbytes tensors": (
        "llama-nf4",
        block_of("llama-gptq"),
        "quant/scheme-differs",
        {"quant/part-missing", "quant/part-unplaced"},
    ),
    "a bitsandbytes config over GPTQ tensors": (
        "llama-gptq",
        block_of("llama-nf4"),
        "quant/scheme-differs",
        {"quant/read-as-bnb", "structure/unexpected-tensor"},
    ),
    "a resized vocabulary": (
        "llama-bf16",
        config(vocab_size=264),
        "structure/size-differs",
        {"structure/shape-mismatch"},
    ),
    "another width": (
        "llama-bf16",
        config(hidden_size=256),
        "structure/size-differs",
        {"structure/shape-mismatch"},
    ),
    "more layers counted": (
        "llama-bf16",
        config(num_hidden_layers=4),
        "structure/layers-missing",
        {"structure/missing-linear", "structure/missing-norm"},
    ),
    "a lost scale": (
        "llama-gptq",
        without("model.layers.0.mlp.down_proj.scales"),
        "quant/part-missing",
        {"quant/scale-missing"},
    ),
}


def damaged(name: str, tmp_path: Path) -> Report:
    sound, change, _, _ = DAMAGES[name]
    shutil.copytree(SOUND / sound, tmp_path / "m")
    change(tmp_path / "m")
    return check(str(tmp_path / "m"))


@pytest.mark.parametrize("name", DAMAGES)
def test_one_cause_is_one_finding(name: str, tmp_path: Path) -> None:
    report = damaged(name, tmp_path)
    _, _, rule, inside = DAMAGES[name]
    assert [finding.rule for finding in report.findings] == [rule]
    [cause] = report.findings
    assert {item.rule for item in cause.consequences} - {rule} == inside
    assert len({item.fingerprint for item in report.every_finding}) == len(report.every_finding)


@pytest.mark.parametrize("name", DAMAGES)
def test_the_cause_decides(name: str, tmp_path: Path) -> None:
    report = damaged(name, tmp_path)
    [cause] = report.findings
    told = {item.target.label: item.outcome for item in cause.outcomes}
    assert {v.target.label: v.outcome for v in report.verdicts} == told
    assert all(
        verdict.because == (cause.rule,) and verdict.reason == cause.message for verdict in report.verdicts
    )


def test_the_cause_is_first_and_last_on_the_page(tmp_path: Path) -> None:
    report = damaged("a lost shard", tmp_path)
    page = render([report], Page(width=400))
    assert "8 more that follow: structure/missing-linear ×6, structure/missing-norm ×2" in page
    assert page.count("✗ error") == 1
    assert page.splitlines()[-1].startswith("Begin with shards/missing-file: the index names")
    assert "structure/missing-norm" in render([report], Page(width=400, verbose=True))


def test_json_has_the_consequences(tmp_path: Path) -> None:
    report = damaged("a lost shard", tmp_path)
    value: Any = as_dict(report)
    [finding] = value["findings"]
    assert [item["rule"] for item in finding["consequences"]] == [
        f.rule for f in report.findings[0].consequences
    ]
    assert all(item["message"] and item["fingerprint"] for item in finding["consequences"])


def test_what_the_cause_does_not_explain_stands_alone(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-bf16-sharded", tmp_path / "m")
    (tmp_path / "m" / "model-00002-of-00004.safetensors").unlink()
    without("model.norm.weight")(tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    del index["weight_map"]["model.norm.weight"]  # in no file, and the index never knew of it
    file.write_text(json.dumps(index))
    report = check(str(tmp_path / "m"))
    alone = next(finding for finding in report.findings if finding.rule == "structure/missing-norm")
    assert [place.tensor for place in alone.locations] == ["model.norm.weight"]


def test_a_baseline_knows_the_consequences_and_not_further_modules(tmp_path: Path) -> None:
    report = damaged("a lost quantization_config", tmp_path)
    file = tmp_path / "baseline.json"
    file.write_text(baseline.render([report], file, {}))
    known = baseline.read(file)
    assert len(known["m"]) == len(report.every_finding) > 1
    quiet, gone = baseline.apply(report, known, file)
    assert (quiet.findings, gone) == ((), ())
    [cause] = report.findings
    fresh = cause.consequences[0].fingerprint
    fewer = {"m": {key: entry for key, entry in known["m"].items() if key != fresh}}
    again, _ = baseline.apply(report, fewer, file)
    assert [finding.fingerprint for finding in again.findings] == [fresh]


def test_what_settings_ignore_is_no_consequence_either(tmp_path: Path) -> None:
    report = damaged("a lost shard", tmp_path)
    section = settings.Section(ignore={"structure/": "known"})
    [cause] = settings.apply(report, section).findings
    assert cause.rule == "shards/missing-file"
    assert cause.consequences == ()
