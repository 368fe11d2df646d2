"""Skip lists in every dialect: what an entry names, where it stands, and that no list costs more than it may."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ckptdoctor.checkpoint.nouns import Checkpoint
from ckptdoctor.formats.declared import declarations
from ckptdoctor.formats.skips import matched
from ckptdoctor.loaders.shared import skips
from ckptdoctor.model import Report
from ckptdoctor.skiplists.entries import entries
from ckptdoctor.skiplists.matching import Matched
from ckptdoctor.sources import open_source
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import check_source, default_targets, load, parse_target

from ..observe.cases import load_cases, materialise
from ..support.headers import shard

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
    (declared,) = declarations(ckpt)
    return matched(ckpt.view(("model.safetensors",)), declared)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["lm_head", 3]}, {"lm_head"}),
        (
            {
                "quant_method": "fp8",
                "activation_scheme": "static",
                "modules_to_not_convert": ["model.layers.1"],
            },
            {Q1},
        ),
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
    (declared,) = declarations(ckpt)
    assert [entry.pointer for entry in entries(declared, {})] == ["/quantization_config/dynamic/a~1b~0c"]


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
    (declared,) = declarations(ckpt)
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


DENSE = {"weight": ("BF16", [64, 128])}
PACKED = {"weight_packed": ("I32", [64, 16]), "weight_scale": ("BF16", [64, 4]), "weight_shape": ("I64", [2])}
FP8 = {"weight": ("F8_E4M3", [64, 128]), "weight_scale": ("F32", []), "input_scale": ("F32", [])}
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
CT = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}},
}
LAYER = "model.layers.0"
TEXT = "model.language_model.layers.0"


@pytest.mark.parametrize(
    ("model", "block", "dense", "quantised", "scheme"),
    [
        (
            "qwen3_moe",
            {**CT, "ignore": ["lm_head", "re:.*mlp.gate$"]},
            [f"{LAYER}.mlp.gate"],
            [f"{LAYER}.o"],
            PACKED,
        ),
        (
            "llama",
            {**CT, "ignore": ["lm_head", f"{LAYER}.self_attn.qkv_proj"]},
            [f"{LAYER}.self_attn.{part}_proj" for part in "qkv"],
            [f"{LAYER}.mlp.down_proj"],
            PACKED,
        ),
        (
            "qwen3_vl",
            {**CT, "ignore": ["lm_head", "re:.*visual.*", f"{TEXT}.mlp.down_proj"]},
            [f"{TEXT}.mlp.down_proj", "model.visual.blocks.0.attn.qkv"],
            [f"{TEXT}.mlp.up_proj", f"{TEXT}.mlp.gate_proj"],
            PACKED,
        ),
        (
            "deepseek_v3",
            {**CT, "ignore": ["lm_head", "model.layers.61.eh_proj", "model.layers.61.shared_head.head"]},
            ["model.layers.61.eh_proj"],
            [f"{LAYER}.mlp.down_proj"],
            PACKED,
        ),
        (
            "llama",
            {**CT, "ignore": ["lm_head", "model.embed_tokens"]},
            [],
            [f"{LAYER}.mlp.down_proj"],
            PACKED,
        ),
        (
            "llama4",
            {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["*.router*", "*vision*", "lm_head"]},
            [f"{LAYER}.feed_forward.router"],
            [f"{LAYER}.feed_forward.shared_expert.down_proj"],
            FP8,
        ),
        (
            "qwen3_5",
            {**CT, "ignore": [f"{TEXT}.linear_attn", f"{TEXT}.linear_attn.norm", "re:^mtp.*", "lm_head"]},
            [f"{TEXT}.linear_attn.norm"],
            [f"{TEXT}.mlp.down_proj"],
            PACKED,
        ),
        (
            "gpt_oss",
            {
                "quant_method": "fp8",
                "activation_scheme": "static",
                "modules_to_not_convert": ["model.layers.*.mlp.router", "lm_head"],
            },
            [f"{LAYER}.mlp.router"],
            [f"{LAYER}.self_attn.o_proj"],
            FP8,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lists_of_real_writers_are_sound(
    model: str,
    block: dict[str, object],
    dense: list[str],
    quantised: list[str],
    scheme: dict[str, tuple[str, list[int]]],
) -> None:
    tensors = {f"{name}.{leaf}": how for name in dense for leaf, how in DENSE.items()}
    tensors |= {f"{name}.{leaf}": how for name in quantised for leaf, how in scheme.items()}
    files = {
        "config.json": json.dumps({"model_type": model, "quantization_config": block}).encode(),
        "model.safetensors": shard({**tensors, "lm_head.weight": ("BF16", [32, 64])}),
    }
    report = check_source(MemorySource("model", files), [parse_target("vllm==0.32.0")])
    assert not report.crashes
    assert [f"{f.rule}: {f.message}" for f in report.findings if f.rule.startswith("quant/")] == []


CASES = {case.id: case for case in load_cases()}


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        ("lists-gptq-declared-awq", "quant/scheme-differs"),
        ("lists-nvfp4-declared-packed", "quant/scheme-differs"),
        ("gptq-config-skips-quantised", "quant/listed-and-quantised"),
        ("ct-w8a8-ignores-quantised", "quant/listed-and-quantised"),
        ("gptq-config-lists-too-few", "quant/not-in-block-list"),
        ("ct-w8a8-all-dense", "quant/declared-but-dense"),
    ],
)
def test_one_cause_is_one_finding(case: str, cause: str, tmp_path: Path) -> None:
    report = check_source(open_source(str(materialise(CASES[case], tmp_path))), default_targets())
    assert [finding.rule for finding in report.findings if finding.severity != "note"] == [cause]
    (finding,) = (finding for finding in report.findings if finding.rule == cause)
    told = {item.target.label: item.outcome for item in finding.outcomes if item.outcome != "ok"}
    assert {v.target.label: v.outcome for v in report.verdicts if v.outcome != "ok"} == told


@pytest.mark.parametrize(("declares", "outcome"), [(True, "ok"), (False, "fails")])
def test_a_file_of_modelopt_counts_where_vllm_opens_it(declares: bool, outcome: str, tmp_path: Path) -> None:
    """``get_config`` of vLLM 0.32.0 opens it only where config.json has no quantization_config."""
    model = materialise(CASES["llama-gptq" if declares else "mistral-bf16"], tmp_path)
    Path(model, "hf_quant_config.json").write_text("[1")
    [verdict] = check_source(open_source(str(model)), [parse_target("vllm==0.32.0")]).verdicts
    assert verdict.outcome == outcome
