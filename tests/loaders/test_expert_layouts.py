"""Experts in every layout that is published, sound and with one expert's or one role's tensors broken."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.model import Finding
from ckptdoctor.rulebook import recipe
from tests.support.shipped import check_source

Tensors = dict[str, list[Any]]
RULES = ["quant/scale-missing", "quant/codes-missing", "quant/role-dtype", "quant/role-shape"]


def found(tensors: Tensors) -> list[Finding]:
    """Return what the rules on roles make of these tensors alone."""
    report = check_source(recipe.build({"tensors": tensors}), [], select=RULES)
    assert not report.crashes
    return list(report.findings)


def rules(tensors: Tensors) -> list[str]:
    return [finding.rule for finding in found(tensors)]


def one_by_one(prefix: str, names: tuple[str, ...], roles: Tensors, experts: int = 4) -> Tensors:
    """Return every expert as modules of its own, in two layers."""
    return {
        f"model.layers.{layer}.{prefix}.{expert}.{name}.{role}": entry
        for layer in range(2)
        for expert in range(experts)
        for name in names
        for role, entry in roles.items()
    }


GPTQ: Tensors = {
    "qweight": ["I32", [64, 256]],
    "qzeros": ["I32", [4, 32]],
    "scales": ["F16", [4, 256]],
    "g_idx": ["I32", [512]],
}
AWQ: Tensors = {"qweight": ["I32", [512, 32]], "qzeros": ["I32", [4, 32]], "scales": ["F16", [4, 256]]}
FP8: Tensors = {"weight": ["F8_E4M3", [256, 512]], "weight_scale_inv": ["F32", [2, 4]]}
PLAIN_FP8: Tensors = {
    "weight": ["F8_E4M3", [256, 512]],
    "weight_scale": ["F32", []],
    "input_scale": ["F32", []],
}
NVFP4: Tensors = {
    "weight": ["U8", [256, 256]],
    "weight_scale": ["F8_E4M3", [256, 32]],
    "weight_scale_2": ["F32", []],
}
PACKED: Tensors = {
    "weight_packed": ["I32", [256, 64]],
    "weight_scale": ["BF16", [256, 4]],
    "weight_shape": ["I64", [2]],
}

SINGLE = {
    "experts, gptq": (one_by_one("mlp.experts", ("gate_proj", "up_proj", "down_proj"), GPTQ), "scales"),
    "experts, awq": (one_by_one("mlp.experts", ("gate_proj", "up_proj", "down_proj"), AWQ), "qzeros"),
    "experts, fp8": (one_by_one("mlp.experts", ("gate_proj", "down_proj"), FP8), "weight_scale_inv"),
    "experts, nvfp4": (one_by_one("mlp.experts", ("gate_proj", "down_proj"), NVFP4), "weight_scale_2"),
    "experts, packed": (one_by_one("mlp.experts", ("gate_proj", "down_proj"), PACKED), "weight_scale"),
    "block_sparse_moe, fp8": (
        one_by_one("block_sparse_moe.experts", ("w1", "w2", "w3"), PLAIN_FP8),
        "weight_scale",
    ),
    "block_sparse_moe, awq": (one_by_one("block_sparse_moe.experts", ("w1", "w2", "w3"), AWQ), "scales"),
}
"""Layout → its tensors, and a role that explains the codes."""


@pytest.mark.parametrize("layout", SINGLE)
def test_sound_experts_are_left_alone(layout: str) -> None:
    assert found(SINGLE[layout][0]) == []


@pytest.mark.parametrize("layout", SINGLE)
def test_a_role_lost_by_one_expert_is_found_there(layout: str) -> None:
    tensors, role = SINGLE[layout]
    gone = next(name for name in [*tensors][::-1] if ".3." in name and name.endswith(f".{role}"))
    [finding] = found({name: entry for name, entry in tensors.items() if name != gone})
    assert finding.rule == "quant/scale-missing"
    assert [place.tensor.rpartition(".")[0] for place in finding.locations] == [gone.rpartition(".")[0]]


@pytest.mark.parametrize("layout", SINGLE)
def test_codes_lost_by_one_expert_are_found_there(layout: str) -> None:
    tensors, _ = SINGLE[layout]
    roles = {name.rpartition(".")[2] for name in tensors}
    [codes] = roles & {"qweight", "weight_packed", "weight"}
    gone = next(name for name in tensors if ".2." in name and name.endswith(f".{codes}"))
    assert rules({name: entry for name, entry in tensors.items() if name != gone}) == ["quant/codes-missing"]


EXPERTS = "model.layers.0.mlp.experts"
SWITCH = "model.layers.0.mlp.switch_mlp"
STACKED: dict[str, Tensors] = {
    "gpt-oss": {
        f"{EXPERTS}.gate_up_proj_blocks": ["U8", [8, 512, 8, 16]],
        f"{EXPERTS}.gate_up_proj_scales": ["U8", [8, 512, 8]],
        f"{EXPERTS}.gate_up_proj_bias": ["BF16", [8, 512]],
        f"{EXPERTS}.down_proj_blocks": ["U8", [8, 256, 8, 16]],
        f"{EXPERTS}.down_proj_scales": ["U8", [8, 256, 8]],
        f"{EXPERTS}.down_proj_bias": ["BF16", [8, 256]],
    },
    "switch_mlp, affine": {
        f"{SWITCH}.{name}.{role}": entry
        for name in ("gate_proj", "up_proj", "down_proj")
        for role, entry in {
            "weight": ["U32", [8, 256, 64]],
            "scales": ["BF16", [8, 256, 8]],
            "biases": ["BF16", [8, 256, 8]],
        }.items()
    },
    "switch_mlp, mxfp4": {
        f"{SWITCH}.{name}.{role}": entry
        for name in ("gate_proj", "up_proj", "down_proj")
        for role, entry in {"weight": ["U32", [8, 256, 64]], "scales": ["U8", [8, 256, 16]]}.items()
    },
    "stacked fp8 blocks": {
        f"{EXPERTS}.down_proj.weight": ["F8_E4M3", [8, 256, 512]],
        f"{EXPERTS}.down_proj.weight_scale_inv": ["F32", [8, 2, 4]],
    },
    "stacked packed": {
        f"{EXPERTS}.down_proj.weight_packed": ["I32", [8, 256, 64]],
        f"{EXPERTS}.down_proj.weight_scale": ["BF16", [8, 256, 4]],
        f"{EXPERTS}.down_proj.weight_shape": ["I64", [3]],
    },
    "stacked nvfp4": {
        f"{EXPERTS}.down_proj.weight": ["U8", [8, 256, 256]],
        f"{EXPERTS}.down_proj.weight_scale": ["F8_E4M3", [8, 256, 32]],
        f"{EXPERTS}.down_proj.weight_scale_2": ["F32", [8]],
    },
}


@pytest.mark.parametrize("layout", STACKED)
def test_sound_stacks_are_left_alone(layout: str) -> None:
    assert found(STACKED[layout]) == []


@pytest.mark.parametrize(
    ("layout", "tensor"),
    [
        ("gpt-oss", f"{EXPERTS}.gate_up_proj_blocks"),
        ("gpt-oss", f"{EXPERTS}.gate_up_proj_scales"),
        ("gpt-oss", f"{EXPERTS}.down_proj_scales"),
        ("gpt-oss", f"{EXPERTS}.down_proj_bias"),
        ("switch_mlp, affine", f"{SWITCH}.up_proj.weight"),
        ("switch_mlp, affine", f"{SWITCH}.up_proj.scales"),
        ("switch_mlp, affine", f"{SWITCH}.up_proj.biases"),
        ("switch_mlp, mxfp4", f"{SWITCH}.down_proj.scales"),
        ("stacked fp8 blocks", f"{EXPERTS}.down_proj.weight_scale_inv"),
        ("stacked packed", f"{EXPERTS}.down_proj.weight_scale"),
        ("stacked nvfp4", f"{EXPERTS}.down_proj.weight_scale"),
    ],
)
def test_another_number_of_experts_in_one_role_is_found(layout: str, tensor: str) -> None:
    dtype, shape = STACKED[layout][tensor]
    assert rules({**STACKED[layout], tensor: [dtype, [7, *shape[1:]]]}) == ["quant/role-shape"]
