"""Tier A, role by role: literal modules, each with a tensor dropped, miscast or misshapen, found by the rule for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ckptdoctor.engine import check_source
from ckptdoctor.rulebook import recipe

MODULE = "model.layers.0.mlp.down_proj"
Tensors = dict[str, list[Any]]

MODULES: dict[str, Tensors] = {
    "gptq": {
        "qweight": ["I32", [64, 256]],
        "qzeros": ["I32", [4, 32]],
        "scales": ["F16", [4, 256]],
        "g_idx": ["I32", [512]],
    },
    "awq": {"qweight": ["I32", [512, 32]], "qzeros": ["I32", [4, 32]], "scales": ["F16", [4, 256]]},
    "ct-packed": {
        "weight_packed": ["I32", [256, 64]],
        "weight_scale": ["BF16", [256, 4]],
        "weight_zero_point": ["I32", [32, 4]],
        "weight_shape": ["I64", [2]],
    },
    "fp8-block": {"weight": ["F8_E4M3", [256, 512]], "weight_scale_inv": ["F32", [2, 4]]},
    "nvfp4-packed": {
        "weight_packed": ["U8", [256, 256]],
        "weight_scale": ["F8_E4M3", [256, 32]],
        "weight_global_scale": ["F32", [1]],
    },
    "mxfp4-packed": {"weight_packed": ["U8", [256, 256]], "weight_scale": ["U8", [256, 16]]},
    "nvfp4-modelopt": {
        "weight": ["U8", [256, 256]],
        "weight_scale": ["F8_E4M3", [256, 32]],
        "weight_scale_2": ["F32", []],
    },
    "torchao": {"_weight_qdata": ["I8", [256, 512]], "_weight_scale": ["F32", [256, 1]]},
    "mlx-affine": {
        "weight": ["U32", [256, 64]],
        "scales": ["BF16", [256, 8]],
        "biases": ["BF16", [256, 8]],
    },
}

DROPPED = [
    ("gptq", "qzeros"),
    ("gptq", "scales"),
    ("awq", "qzeros"),
    ("awq", "scales"),
    ("ct-packed", "weight_scale"),
    ("ct-packed", "weight_shape"),
    ("nvfp4-packed", "weight_global_scale"),
    ("nvfp4-packed", "weight_scale"),
    ("mxfp4-packed", "weight_scale"),
    ("nvfp4-modelopt", "weight_scale_2"),
    ("torchao", "_weight_scale"),
    ("mlx-affine", "biases"),
]
CODES = [
    ("gptq", "qweight"),
    ("awq", "qweight"),
    ("ct-packed", "weight_packed"),
    ("fp8-block", "weight"),
    ("nvfp4-packed", "weight_packed"),
    ("mxfp4-packed", "weight_packed"),
    ("nvfp4-modelopt", "weight"),
    ("torchao", "_weight_qdata"),
]
MISCAST = [
    ("gptq", "qzeros", "F16"),
    ("gptq", "scales", "I32"),
    ("gptq", "g_idx", "I64"),
    ("awq", "qzeros", "F16"),
    ("awq", "scales", "F32"),
    ("ct-packed", "weight_zero_point", "I64"),
    ("ct-packed", "weight_scale", "F64"),
    ("ct-packed", "weight_shape", "I32"),
    ("fp8-block", "weight", "BF16"),
    ("fp8-block", "weight_scale_inv", "F16"),
    ("nvfp4-packed", "weight_scale", "BF16"),
    ("nvfp4-packed", "weight_global_scale", "BF16"),
    ("nvfp4-modelopt", "weight_scale_2", "BF16"),
    ("torchao", "_weight_scale", "I8"),
]
MISSHAPEN = [
    ("gptq", "qzeros", [4, 256]),
    ("gptq", "g_idx", [256]),
    ("awq", "qzeros", [4, 16]),
    ("ct-packed", "weight_zero_point", [32, 2]),
    ("ct-packed", "weight_shape", [3]),
    ("fp8-block", "weight_scale_inv", [4, 2]),
    ("nvfp4-packed", "weight_scale", [256, 16]),
    ("mxfp4-packed", "weight_scale", [128, 16]),
    ("nvfp4-modelopt", "weight_scale", [256, 16]),
    ("mlx-affine", "biases", [256, 4]),
]


def found(tensors: Tensors) -> set[str]:
    """Return the rules of this family that fire on a module of these tensors, whatever the loaders make of it."""
    rules = ["quant/scale-missing", "quant/codes-missing", "quant/role-dtype", "quant/role-shape"]
    built = recipe.build({"tensors": {f"{MODULE}.{role}": entry for role, entry in tensors.items()}})
    report = check_source(built, [], select=rules)
    assert not report.crashes
    return {finding.rule for finding in report.findings}


def _twins() -> Iterator[Any]:
    for scheme, role in DROPPED:
        rest = {name: entry for name, entry in MODULES[scheme].items() if name != role}
        yield pytest.param(rest, "quant/scale-missing", id=f"{scheme} without {role}")
    for scheme, role in CODES:
        rest = {name: entry for name, entry in MODULES[scheme].items() if name != role}
        yield pytest.param(rest, "quant/codes-missing", id=f"{scheme} without {role}")
    for scheme, role, dtype in MISCAST:
        cast = {**MODULES[scheme], role: [dtype, MODULES[scheme][role][1]]}
        yield pytest.param(cast, "quant/role-dtype", id=f"{scheme} with {role} as {dtype}")
    for scheme, role, shape in MISSHAPEN:
        cut = {**MODULES[scheme], role: [MODULES[scheme][role][0], shape]}
        yield pytest.param(cut, "quant/role-shape", id=f"{scheme} with {role} of {shape}")


@pytest.mark.parametrize("scheme", MODULES)
def test_a_sound_module_is_left_alone(scheme: str) -> None:
    assert found(MODULES[scheme]) == set()


@pytest.mark.parametrize(("tensors", "rule"), list(_twins()))
def test_a_broken_twin_is_found_once(tensors: Tensors, rule: str) -> None:
    assert found(tensors) == {rule}
