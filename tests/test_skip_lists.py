"""Skip lists in every dialect: what an entry names, where it stands, and that no list costs more than it may."""

from __future__ import annotations

import json
import time

import pytest

from ckptdoctor.checkpoint import load
from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.checkpoint.skip_entries import entries
from ckptdoctor.checkpoint.skip_matching import Matched, matched
from ckptdoctor.loaders import skips
from ckptdoctor.model import Report
from ckptdoctor.sources.memory import MemorySource

from .headers import shard

MODULES = (
    "lm_head",
    "model.layers.0.mlp.gate",
    "model.layers.0.mlp.gate_proj",
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.q_proj",
    "model.layers.10.self_attn.q_proj",
    "model.visual.blocks.0.attn.qkv",
)
Q0, Q1, Q10 = MODULES[3:6]


def checkpoint(block: dict[str, object], modules: tuple[str, ...] = MODULES) -> Checkpoint:
    tensors = {f"{module}.weight": ("BF16", [1, 1]) for module in modules}
    files = {
        "config.json": json.dumps({"quantization_config": block}).encode(),
        "model.safetensors": shard(tensors),
    }
    return load(MemorySource("model", files))


def names(block: dict[str, object], modules: tuple[str, ...] = MODULES) -> Matched:
    ckpt = checkpoint(block, modules)
    (declared,) = ckpt.declared()
    return matched(ckpt.view(("model.safetensors",)), declared)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["lm_head", 3]}, {"lm_head"}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["model.layers.1"]}, {Q1}),
        ({"quant_method": "fp8", "ignored_layers": [Q0]}, {Q0}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["mlp.gate"]}, {MODULES[1]}),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}, {Q0, Q1, Q10}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["*.gate"]}, {MODULES[1]}),
        ({"quant_method": "awq", "modules_to_not_convert": ["visual", "gate"]}, {MODULES[1], MODULES[6]}),
        ({"quant_method": "compressed-tensors", "ignore": ["layers.0.self_attn.q_proj"]}, set()),
        ({"quant_method": "compressed-tensors", "ignore": [Q10, "re:.*gate$"]}, {Q10, MODULES[1]}),
        ({"quant_method": "compressed-tensors", "ignore": ["re:visual.*"]}, set()),
        ({"quant_method": "compressed-tensors", "ignore": [r"re:.*layers\.\d\.self_attn.*"]}, {Q0, Q1}),
        ({"quant_method": "compressed-tensors", "ignore": ["re:.*[.]1[.].*"]}, {Q1}),
        ({"quant_algo": "FP8", "exclude_modules": ["*visual*", "lm_head"]}, {"lm_head", MODULES[6]}),
        ({"quant_algo": "FP8", "ignore": ["model.layers.1*"]}, {Q1}),
        ({"quant_method": "gptq", "dynamic": {r"-:.*\.10\..*": {}, "+:.*": {"bits": 8}}}, {Q10}),
        ({"quant_method": "auto-round", "extra_config": {Q1: {"bits": 16}, Q0: {"bits": 8}}}, {Q1}),
        ({"bits": 4, "group_size": 64, Q0: False, Q1: {"bits": 6}}, {Q0}),
        ({"quant_method": "torchao", "module_fqn_to_config": {Q0: None, "re:.*10.*": None}}, {Q0, Q10}),
        ({"quant_method": "hqq", "skip_modules": ["lm_head"]}, {"lm_head"}),
        ({"quant_method": "gptq"}, set()),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_skipped(block: dict[str, object], named: set[str]) -> None:
    found = names(block)
    assert not found.doubt
    assert set(found.of("skip")) == named


def test_what_is_listed_is_quantised() -> None:
    block = {"quant_method": "gptq", "modules_in_block_to_quantize": [["self_attn.q_proj"], ["mlp.up_proj"]]}
    found = names(block)
    assert set(found.of("only")) == {Q0, Q1, Q10}
    assert [entry.pointer.removeprefix("/quantization_config/") for entry in found.entries] == [
        "modules_in_block_to_quantize/0/0",
        "modules_in_block_to_quantize/1/0",
    ]


def test_overrides_have_settings_and_a_place() -> None:
    found = names({"quant_method": "gptq", "dynamic": {"+:.*/q~_proj": {}, ".*q_proj": {"bits": 8}}}).of(
        "override"
    )
    assert set(found) == {Q0, Q1, Q10}
    assert found[Q0].settings == {"bits": 8}
    ckpt = checkpoint({"quant_method": "gptq", "dynamic": {"a/b~c": {}}})
    (declared,) = ckpt.declared()
    assert [entry.pointer for entry in entries(declared)] == ["/quantization_config/dynamic/a~1b~0c"]


def test_other_spellings_are_hints() -> None:
    found = names(
        {
            "quant_method": "compressed-tensors",
            "ignore": ["layers.1.self_attn.qkv_proj", "re:visual.*", "mtp.fc"],
        }
    )
    assert found.hinted == ((Q1,), (MODULES[6],), ())


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", ".*.*.*.*.*.*x", "(.*a){20}", "(?=a)b", "[" * 2000, "x" * 5000]
)
def test_hostile_expressions_are_not_matched(pattern: str) -> None:
    long = (f"model.{'a' * 120}", *MODULES)
    begun = time.perf_counter()
    found = names({"quant_method": "compressed-tensors", "ignore": [f"re:{pattern}"]}, long)
    assert time.perf_counter() - begun < 3
    assert found.doubt or not found.of("skip")


def test_hostile_expressions_leave_loaders_unknown() -> None:
    from ckptdoctor.engine import check_source
    from ckptdoctor.targets import parse_target

    block = {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["re:(a+)+$"]}
    files = {
        "config.json": json.dumps({"model_type": "llama", "quantization_config": block}).encode(),
        "model.safetensors": shard({"model.layers.0.mlp.down_proj.weight": ("BF16", [2, 2])}),
    }
    report: Report = check_source(MemorySource("model", files), [parse_target("vllm==0.32.0")])
    assert not report.crashes
    assert [verdict.outcome for verdict in report.verdicts] == ["unknown"]


def test_long_lists_over_large_models_are_fast() -> None:
    experts = tuple(
        f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj"
        for layer in range(61)
        for expert in range(256)
        for part in ("gate", "up", "down")
    )
    listed = [name for name in experts if ".experts.7." in name] + [
        f"model.layers.{n}.mlp.gate" for n in range(5000)
    ]
    ckpt = checkpoint(
        {"quant_method": "compressed-tensors", "ignore": [*listed, "re:.*self_attn.*"]}, experts
    )
    view = ckpt.view(("model.safetensors",))
    (declared,) = ckpt.declared()
    begun = time.perf_counter()
    found = matched(view, declared)
    assert time.perf_counter() - begun < 1.5
    assert not found.doubt
    assert len(found.of("skip")) == 61 * 3


@pytest.mark.parametrize(
    ("dialect", "patterns", "taken"),
    [
        (skips.transformers5, ["model.layers.1"], {Q1}),
        (skips.transformers5, ["layers.0.self_attn.q_proj"], {Q0}),
        (skips.transformers5, ["model.layers.*"], set(MODULES[1:6])),
        (skips.transformers5, ["head"], {"lm_head"}),
        (skips.transformers4, ["layers.1"], {Q1}),
        (skips.transformers4, ["q_proj"], {Q0, Q1, Q10}),
        (skips.transformers4, ["s.1"], {Q1}),
        (skips.vllm_bnb, ["self_attn", "lm_head"], {"lm_head", Q0, Q1, Q10}),
        (skips.vllm_bnb, ["model.layers.1"], {Q1}),
        (skips.compressed_tensors, ["re:.*gate", Q0], {MODULES[1], MODULES[2], Q0}),
        (skips.from_start, [r".*\.10\."], {Q10}),
        (skips.from_start, ["["], set()),
    ],
)
def test_loaders_match_in_their_own_way(dialect: object, patterns: list[str], taken: set[str]) -> None:
    assert callable(dialect)
    assert set(filter(dialect(patterns), MODULES)) == taken
