"""How vLLM's methods match lists against its own module names, and which devices a config can be split over."""

from __future__ import annotations

import time

import pytest

from ckptdoctor import ruledata
from ckptdoctor.formats.layout import Layout
from ckptdoctor.loaders.vllm import names, parallel
from ckptdoctor.loaders.vllm.split_sizes import of_config

DATA = ruledata.load().loaders["vllm"]
ATTENTION = "model.layers.3.self_attn"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (f"{ATTENTION}.k_proj", f"{ATTENTION}.qkv_proj"),
        (f"{ATTENTION}.o_proj", f"{ATTENTION}.o_proj"),
        ("model.layers.3.mlp.experts.7.up_proj", "model.layers.3.mlp.experts"),
        ("lm_head", "lm_head"),
    ],
)
def test_the_layer_a_module_becomes(module: str, name: str) -> None:
    assert names.own(module, DATA) == name


@pytest.mark.parametrize(
    ("entry", "module", "whole", "skipped"),
    [
        (f"{ATTENTION}.k_proj", f"{ATTENTION}.k_proj", True, True),
        (f"{ATTENTION}.k_proj", f"{ATTENTION}.q_proj", True, False),
        (f"{ATTENTION}.qkv_proj", f"{ATTENTION}.q_proj", True, True),
        ("k_proj", f"{ATTENTION}.k_proj", True, False),
        ("k_proj", f"{ATTENTION}.k_proj", False, True),
        ("v_proj", f"{ATTENTION}.q_proj", False, True),  # a part of the name qkv_proj
        ("model.layers.3.mlp.experts.0.up_proj", "model.layers.3.mlp.experts.1.up_proj", True, True),
        ("model.layers.3.mlp", "model.layers.3.mlp.experts.1.up_proj", True, False),
    ],
)
def test_a_list(entry: str, module: str, whole: bool, skipped: bool) -> None:
    assert names.in_list((entry,), DATA, whole=whole)(module) is skipped


def test_older_lists_do_not_know_fused_names() -> None:
    match = names.in_list((f"{ATTENTION}.qkv_proj",), DATA, whole=True, fused_names=False)
    assert not match(f"{ATTENTION}.q_proj")


@pytest.mark.parametrize(
    ("entry", "module", "skipped"),
    [
        ("k_proj", f"{ATTENTION}.k_proj", False),  # no part of qkv_proj, and not the very name
        ("v_proj", f"{ATTENTION}.k_proj", True),
        ("model.layers.3*", f"{ATTENTION}.o_proj", True),
        ("*o_proj", f"{ATTENTION}.o_proj", True),
        ("*mlp*", f"{ATTENTION}.o_proj", False),
    ],
)
def test_modelopt_excludes_by_name_part_and_pattern(entry: str, module: str, skipped: bool) -> None:
    assert names.excluded((entry,), DATA)(module) is skipped


def test_hostile_patterns_cost_nothing() -> None:
    began = time.perf_counter()
    match = names.excluded(tuple(f"{'*a' * 2000}{number}" for number in range(200)), DATA)
    assert not match("a" * 5000)
    assert time.perf_counter() - began < 1


def test_rules_of_gptq_see_the_fused_name_and_the_first_counts() -> None:
    rules = {"-:.*k_proj": {}, "+:.*qkv_proj": {"bits": 8}, ".*": {"bits": 2}}
    found = names.by_rule(rules, DATA)
    assert found(f"{ATTENTION}.k_proj") == {"bits": 8}
    assert found(f"{ATTENTION}.o_proj") == {"bits": 2}
    assert names.by_rule({"-:.*o_proj": {}}, DATA)(f"{ATTENTION}.o_proj") is None


QWEN3_30B = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
}
FP8 = Layout("fp8", block=(128, 128))
FOUR_BITS = Layout("awq", bits=4, group=128)


@pytest.mark.parametrize(
    ("rules", "sizes"),
    [
        (parallel.Rules((FP8,)), [1, 2]),
        (parallel.Rules((FP8,), refines_tiles=True), [1, 2, 4, 8]),
        (parallel.Rules((FOUR_BITS,)), [1, 2]),
        (parallel.Rules((FOUR_BITS,), halves_groups=True), [1, 2, 4, 8]),
        (parallel.Rules(()), [1, 2, 4, 8, 16, 32]),
    ],
)
def test_experts_limit_what_tiles_and_groups_allow(rules: parallel.Rules, sizes: list[int]) -> None:
    found = of_config(QWEN3_30B)
    assert found is not None
    assert [n for n in range(1, 33) if not parallel.why_not(found, rules, n)] == sizes


def test_dense_layers_count_where_there_are_any() -> None:
    plain, mixed, mixtral = (
        of_config(config)
        for config in (
            QWEN3_30B,
            {**QWEN3_30B, "mlp_only_layers": [0], "n_shared_experts": 2},
            {"num_local_experts": 8, "intermediate_size": 14336, "hidden_size": 4096}
            | {"num_attention_heads": 32, "vocab_size": 32000},
        )
    )
    assert plain is not None
    assert (plain.dense, plain.experts) == ((), (768,))
    assert mixed is not None
    assert (mixed.dense, mixed.experts) == ((6144, 1536), (768,))
    assert mixtral is not None
    assert (mixtral.dense, mixtral.experts) == ((), (14336,))


def test_latent_attention_is_split_by_its_heads() -> None:
    latent = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    found = of_config({**QWEN3_30B, **latent, "num_attention_heads": 128, "num_key_value_heads": 128})
    assert found is not None
    assert (found.key_heads, found.attention_inputs) == (0, (128 * 128,))
    assert found.attention_outputs == (128 * 192, 128 * 256)
