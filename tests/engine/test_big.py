"""Large and deep input: limits that name themselves, no false alarm below them, and time that grows with the size."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.huge import CASES, Case, header
from ckptdoctor.checkpoint import jsondoc, limits, loading, modules
from ckptdoctor.judging import causes
from ckptdoctor.model import Report
from ckptdoctor.render import FORMATS, Page, render
from ckptdoctor.sources import local, open_source
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import check_source, default_targets, load

TARGETS = default_targets()
CONFIG = b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}'
SECONDS = 20
"""CPU seconds that one of the small cases may take; each takes less than one, and took minutes where time ran away."""


def check(files: dict[str, bytes]) -> Report:
    report = check_source(MemorySource("model", files), TARGETS)
    assert report.crashes == ()
    return report


def shard(*names: str) -> bytes:
    text, size = header(names)
    return struct.pack("<Q", len(text)) + text + bytes(size)


def blind(report: Report) -> list[str]:
    assert "ok" not in {verdict.outcome for verdict in report.verdicts}
    return [skip.reason for skip in report.skips if skip.kind == "blind"]


@pytest.mark.parametrize("case", [c for c in CASES if c.name != "tree"], ids=lambda case: case.name)
def test_scaled_down(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / case.name
    case.make(folder, 0.01)
    begun = time.process_time()
    report = check_source(open_source(str(folder)), TARGETS)
    assert report.crashes == ()
    json.loads(render("json", [report], Page()))
    assert time.process_time() - begun < SECONDS


def test_too_many_kinds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MAX_KINDS", 10)
    few, many = [f"m{n}.{n}.weight" for n in range(10)], [f"m{n}.{n}.weight" for n in range(11)]
    assert "container/beyond-limit" not in {
        f.rule for f in check({"model.safetensors": shard(*few)}).findings
    }
    report = check({"model.safetensors": shard(*many), "config.json": CONFIG})
    assert blind(report) == ["model.safetensors has 11 or more kinds of tensor: ckptdoctor judges up to 10"]
    assert [f.rule for f in report.findings] == ["container/beyond-limit"]


def test_many_tensors_of_few_kinds_are_no_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MAX_KINDS", 2)
    files = {"model.safetensors": shard(*(f"m.{n}.{part}.weight" for n in range(500) for part in "ab"))}
    assert load(MemorySource("model", files)).view(("model.safetensors",)).beyond is None


def test_total_of_headers_and_number_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"model-{n}.safetensors": shard(f"m.{n}.weight") for n in range(3)} | {"config.json": CONFIG}
    total = sum(map(len, files.values()))
    monkeypatch.setattr(loading, "MAX_HEADERS", total // 2)
    assert any("bytes of headers" in reason for reason in blind(check(files)))
    monkeypatch.setattr(loading, "MAX_HEADERS", total)
    monkeypatch.setattr(loading, "MAX_SHARDS", 2)
    assert any("3 or more weight files" in reason for reason in blind(check(files)))


def test_causes_of_one_rule_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "MAX_CAUSES", 5)
    index = {"weight_map": {f"m{n}.weight": "model.safetensors" for n in range(9)}}
    files = {
        "model.safetensors": shard("m0.weight"),
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    report = check(files | {"config.json": CONFIG})
    assert Counter(f.rule for f in report.every_finding)["shards/ghost-tensor"] == 5
    assert any("causes here" in reason for reason in blind(report))


def test_documents_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_DOCUMENTS", len(CONFIG) + 5)
    files = {"config.json": CONFIG, "generation_config.json": b'{"a": 1, "b": 2}'}
    found = {f.rule: f.message for f in check(files).findings}
    assert found["container/json-too-large"].endswith("ckptdoctor reads up to 5")


LONG = "x" * 300_000


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("config.json", {"architectures": [LONG]}),
        ("config.json", {"architectures": ["LlamaForCausalLM"], "model_type": LONG}),
        (
            "config.json",
            {"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": LONG}},
        ),
        (
            "config.json",
            {"quantization_config": {"quant_method": "bitsandbytes", LONG: True, "load_in_4bit": LONG}},
        ),
        (
            "config.json",
            {"quantization_config": {"quant_method": "fp8", "modules_to_not_convert": [LONG, LONG + "y"]}},
        ),
        ("model.safetensors.index.json", {"metadata": {}, "weight_map": {"a.weight": f"{LONG}.safetensors"}}),
        ("model.safetensors.index.json", {"metadata": {}, "weight_map": {LONG: "model.safetensors"}}),
        ("model.safetensors.index.json", {"metadata": {}, "weight_map": {"a.weight": f"../{LONG}"}}),
        ("adapter_config.json", {"peft_type": LONG, "base_model_name_or_path": LONG, "target_modules": LONG}),
    ],
)
def test_no_text_of_a_checkpoint_is_told_whole(file: str, value: object) -> None:
    """A report says where the 20 MB are, it does not hold them in each of its lines."""
    files = {"model.safetensors": shard("model.norm.weight"), "config.json": CONFIG} | {
        file: json.dumps(value).encode()
    }
    report = check(files)
    for form in FORMATS:
        assert len(render(form, [report], Page())) < len(LONG), form


def test_files_beside_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders count too: a tree of empty ones would be walked without end."""
    (tmp_path / "model.safetensors").write_bytes(shard("model.norm.weight"))
    (tmp_path / "config.json").write_bytes(CONFIG)
    for number in range(3):
        (tmp_path / f"folder-{number}/below").mkdir(parents=True)
    for module in (local, loading):
        monkeypatch.setattr(module, "MAX_FILES", 8)
    assert blind(check_source(open_source(str(tmp_path)), TARGETS)) == []
    for module in (local, loading):
        monkeypatch.setattr(module, "MAX_FILES", 7)
    report = check_source(open_source(str(tmp_path)), TARGETS)
    assert blind(report) == ["the directory has 8 or more files and folders: ckptdoctor judges up to 7"]
    assert "container/beyond-limit" in {finding.rule for finding in report.findings}
    assert all(render(form, [report], Page()) for form in FORMATS)


@pytest.mark.parametrize("name", ["a." * 490 + "weight", "0." * 490 + "weight", "." * 990])
def test_deep_names(name: str) -> None:
    """Names of hundreds of components once ran out of stack."""
    check({"model.safetensors": shard(name), "config.json": CONFIG})
    index = {"weight_map": {name * 20: "model.safetensors"}}
    check({"model.safetensors.index.json": json.dumps(index).encode(), "config.json": CONFIG})


def test_long_names_are_not_judged() -> None:
    longest = "n" * (limits.MAX_NAME - 7)
    assert blind(check({"model.safetensors": shard(f"{longest}.weight"), "config.json": CONFIG})) == []
    [reason] = blind(check({"model.safetensors": shard(f"{longest}n.weight"), "config.json": CONFIG}))
    assert reason.startswith("model.safetensors has 1001 characters in a tensor's name")


def test_repeated_keys_in_deep_nesting_take_one_pass() -> None:
    deep = b"[" * 900 + b"0" + b",0" * 1_500_000 + b"]" * 900
    begun = time.process_time()
    [defect] = jsondoc.parse(b'{"a":1,"a":' + deep + b"}", "config.json").defects
    assert (defect.code, defect.at.pointer, defect.at.line) == ("json-duplicate-key", "/a", 1)
    assert time.process_time() - begun < SECONDS


def test_defects_are_told_by_the_fast_decoder_too() -> None:
    """A flaw in the layout of a large header needs no second, slower reading."""
    text, size = header([f"m.{n}.weight" for n in range(limits.MAX_ODD_MEMBERS // 4 + 10)])
    raw = struct.pack("<Q", len(text)) + text
    files = {"model.safetensors": raw + bytes(size - 1), "config.json": CONFIG}
    assert "container/truncated" in {finding.rule for finding in check(files).findings}
