"""Tier A, role by role: literal modules, each with a tensor dropped, miscast or misshapen, found by the rule for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ckptdoctor.rulebook import recipe
from tests.support.shipped import check_source

MODULE = "model.layers.0.mlp.down_proj"
SOUND = "model.layers.1.mlp.down_proj"
Tensors = dict[str, list[Any]]

MODULES: dict[str, Tensors] = {
    "gptq": {
        "qweight": ["I32", [64, 256]],
        "qzeros": ["I32", [4, 32]],
        "scales": ["F16", [4, 256]],
        "g_idx": ["I32", [512]],
    },
    "gptq-2bit": {
        "qweight": ["I32", [32, 256]],
        "qzeros": ["I32", [4, 16]],
        "scales": ["F16", [4, 256]],
        "g_idx": ["I32", [512]],
    },
    "gptq-3bit": {
        "qweight": ["I32", [48, 256]],
        "qzeros": ["I32", [4, 24]],
        "scales": ["F16", [4, 256]],
        "g_idx": ["I32", [512]],
    },
    "gptq-8bit": {
        "qweight": ["I32", [128, 256]],
        "qzeros": ["I32", [4, 64]],
        "scales": ["F16", [4, 256]],
        "g_idx": ["I32", [512]],
    },
    "awq": {"qweight": ["I32", [512, 32]], "qzeros": ["I32", [4, 32]], "scales": ["F16", [4, 256]]},
    "awq-gemv": {"qweight": ["I32", [256, 64]], "qzeros": ["I32", [256, 1]], "scales": ["F16", [256, 8]]},
    "awq-gemv-fast": {
        "qweight": ["I16", [64, 512]],
        "qzeros": ["F16", [8, 256]],
        "scales": ["F16", [8, 256]],
    },
    "ct-packed": {
        "weight_packed": ["I32", [256, 64]],
        "weight_scale": ["BF16", [256, 4]],
        "weight_zero_point": ["I32", [32, 4]],
        "weight_shape": ["I64", [2]],
    },
    "ct-packed-sym": {
        "weight_packed": ["I32", [256, 64]],
        "weight_scale": ["BF16", [256, 4]],
        "weight_shape": ["I64", [2]],
    },
    "ct-packed-actorder": {
        "weight_packed": ["I32", [256, 64]],
        "weight_scale": ["BF16", [256, 4]],
        "weight_g_idx": ["I32", [512]],
        "weight_shape": ["I64", [2]],
    },
    "int8": {"weight": ["I8", [256, 512]], "weight_scale": ["BF16", [256, 1]]},
    "int8-asym": {
        "weight": ["I8", [256, 512]],
        "weight_scale": ["BF16", [256, 4]],
        "weight_zero_point": ["I8", [256, 4]],
        "input_scale": ["F32", [1]],
    },
    "fp8": {"weight": ["F8_E4M3", [256, 512]], "weight_scale": ["BF16", [256, 1]]},
    "fp8-static": {
        "weight": ["F8_E4M3", [256, 512]],
        "weight_scale": ["F32", []],
        "input_scale": ["F32", []],
    },
    "fp8-block": {"weight": ["F8_E4M3", [256, 512]], "weight_scale_inv": ["F32", [2, 4]]},
    "fp8-block-native": {"weight": ["F8_E4M3", [256, 512]], "scale": ["F32", [2, 4]]},
    "mxfp8": {"weight": ["F8_E4M3", [256, 512]], "weight_scale": ["U8", [256, 16]]},
    "nvfp4-packed": {
        "weight_packed": ["U8", [256, 256]],
        "weight_scale": ["F8_E4M3", [256, 32]],
        "weight_global_scale": ["F32", [1]],
        "input_global_scale": ["F32", [1]],
    },
    "mxfp4-packed": {"weight_packed": ["U8", [256, 256]], "weight_scale": ["U8", [256, 16]]},
    "nvfp4-modelopt": {
        "weight": ["U8", [256, 256]],
        "weight_scale": ["F8_E4M3", [256, 32]],
        "weight_scale_2": ["F32", []],
        "input_scale": ["F32", []],
    },
    "mxfp4": {
        "gate_up_proj_blocks": ["U8", [4, 512, 8, 16]],
        "gate_up_proj_scales": ["U8", [4, 512, 8]],
        "gate_up_proj_bias": ["BF16", [4, 512]],
        "down_proj_blocks": ["U8", [4, 256, 8, 16]],
        "down_proj_scales": ["U8", [4, 256, 8]],
        "down_proj_bias": ["BF16", [4, 256]],
    },
    "torchao": {
        "_weight_qdata": ["I8", [256, 512]],
        "_weight_scale": ["F32", [256, 1]],
        "_weight_zero_point": ["I8", [256, 1]],
    },
    "torchao-nvfp4": {
        "_weight_qdata": ["U8", [256, 256]],
        "_weight_scale": ["F8_E4M3", [64, 128]],
        "_weight_per_tensor_scale": ["F32", []],
    },
    "mx-plain": {"weight": ["U8", [256, 256]], "weight_scale": ["U8", [256, 16]]},
    "int4-modelopt": {
        "weight": ["U8", [128, 512]],
        "weight_scale": ["F32", [256, 4]],
        "pre_quant_scale": ["BF16", [512]],
    },
    "mlx-affine": {
        "weight": ["U32", [256, 64]],
        "scales": ["BF16", [256, 8]],
        "biases": ["BF16", [256, 8]],
    },
    "mlx-fp": {"weight": ["U32", [256, 64]], "scales": ["U8", [256, 16]]},
}

DROPPED = [
    *[
        (bits, role)
        for bits in ("gptq", "gptq-2bit", "gptq-3bit", "gptq-8bit")
        for role in ("qzeros", "scales")
    ],
    *[(kind, role) for kind in ("awq", "awq-gemv", "awq-gemv-fast") for role in ("qzeros", "scales")],
    ("ct-packed", "weight_scale"),
    ("ct-packed", "weight_shape"),
    ("ct-packed-sym", "weight_scale"),
    ("ct-packed-sym", "weight_shape"),
    ("ct-packed-actorder", "weight_scale"),
    ("ct-packed-actorder", "weight_shape"),
    ("int8", "weight_scale"),
    ("int8-asym", "weight_scale"),
    ("fp8", "weight_scale"),
    ("fp8-static", "weight_scale"),
    ("fp8-block", "weight_scale_inv"),
    ("fp8-block-native", "scale"),
    ("mxfp8", "weight_scale"),
    ("nvfp4-packed", "weight_global_scale"),
    ("nvfp4-packed", "weight_scale"),
    ("mxfp4-packed", "weight_scale"),
    ("nvfp4-modelopt", "weight_scale"),
    ("nvfp4-modelopt", "weight_scale_2"),
    ("mxfp4", "gate_up_proj_scales"),
    ("mxfp4", "down_proj_scales"),
    ("torchao", "_weight_scale"),
    ("mx-plain", "weight_scale"),
    ("int4-modelopt", "weight_scale"),
    ("mlx-affine", "scales"),
    ("mlx-affine", "biases"),
    ("mlx-fp", "scales"),
]
CODES = [
    ("gptq", "qweight"),
    ("gptq-2bit", "qweight"),
    ("gptq-3bit", "qweight"),
    ("gptq-8bit", "qweight"),
    ("awq", "qweight"),
    ("awq-gemv", "qweight"),
    ("awq-gemv-fast", "qweight"),
    ("ct-packed", "weight_packed"),
    ("ct-packed-sym", "weight_packed"),
    ("ct-packed-actorder", "weight_packed"),
    ("int8", "weight"),
    ("int8-asym", "weight"),
    ("fp8", "weight"),
    ("fp8-static", "weight"),
    ("fp8-block", "weight"),
    ("mxfp8", "weight"),
    ("nvfp4-packed", "weight_packed"),
    ("mxfp4-packed", "weight_packed"),
    ("nvfp4-modelopt", "weight"),
    ("mxfp4", "gate_up_proj_blocks"),
    ("mxfp4", "down_proj_blocks"),
    ("torchao", "_weight_qdata"),
    ("torchao-nvfp4", "_weight_qdata"),
    ("mx-plain", "weight"),
    ("int4-modelopt", "weight"),
    ("mlx-affine", "weight"),
    ("mlx-fp", "weight"),
]
"""Not fp8-block-native: a lone tensor called scale is a layer of Gemma as well."""
MISCAST = [
    ("gptq", "qweight", "I64"),
    ("gptq", "qzeros", "F16"),
    ("gptq", "scales", "I32"),
    ("gptq", "g_idx", "I64"),
    ("gptq-2bit", "qzeros", "F16"),
    ("gptq-3bit", "qzeros", "I64"),
    ("gptq-8bit", "scales", "I32"),
    ("awq", "qweight", "I64"),
    ("awq", "qzeros", "F16"),
    ("awq", "scales", "F32"),
    ("awq-gemv", "qweight", "I64"),
    ("awq-gemv", "qzeros", "F16"),
    ("awq-gemv", "scales", "F32"),
    ("awq-gemv-fast", "qweight", "I64"),
    ("awq-gemv-fast", "qzeros", "I32"),
    ("awq-gemv-fast", "scales", "F32"),
    ("ct-packed", "weight_packed", "I64"),
    ("ct-packed", "weight_zero_point", "I64"),
    ("ct-packed", "weight_scale", "F64"),
    ("ct-packed", "weight_shape", "I32"),
    ("ct-packed-actorder", "weight_g_idx", "I64"),
    ("int8-asym", "weight_zero_point", "I32"),
    ("int8-asym", "weight_scale", "F64"),
    ("int8-asym", "input_scale", "I32"),
    ("fp8-static", "input_scale", "I32"),
    ("fp8-block", "weight", "BF16"),
    ("fp8-block", "weight_scale_inv", "F16"),
    ("fp8-block-native", "scale", "F16"),
    ("nvfp4-packed", "weight_packed", "I8"),
    ("nvfp4-packed", "weight_scale", "BF16"),
    ("nvfp4-packed", "weight_global_scale", "BF16"),
    ("nvfp4-packed", "input_global_scale", "BF16"),
    ("mxfp4-packed", "weight_packed", "I8"),
    ("mxfp4-packed", "weight_scale", "BF16"),
    ("nvfp4-modelopt", "weight_scale", "BF16"),
    ("nvfp4-modelopt", "weight_scale_2", "BF16"),
    ("nvfp4-modelopt", "input_scale", "BF16"),
    ("mxfp4", "down_proj_blocks", "I8"),
    ("mxfp4", "down_proj_scales", "BF16"),
    ("mxfp4", "gate_up_proj_bias", "U8"),
    ("torchao", "_weight_scale", "I8"),
    ("torchao", "_weight_zero_point", "F32"),
    ("torchao-nvfp4", "_weight_per_tensor_scale", "BF16"),
    ("int4-modelopt", "pre_quant_scale", "I8"),
    ("mlx-affine", "scales", "F64"),
    ("mlx-affine", "biases", "F64"),
    ("mlx-fp", "scales", "I8"),
]
MISSHAPEN = [
    ("gptq", "qweight", [60, 256]),
    ("gptq", "qzeros", [4, 256]),
    ("gptq", "scales", [4, 128]),
    ("gptq", "g_idx", [256]),
    ("gptq-2bit", "qzeros", [4, 32]),
    ("gptq-3bit", "qzeros", [4, 32]),
    ("gptq-8bit", "qzeros", [4, 32]),
    ("awq", "qweight", [512, 16]),
    ("awq", "qzeros", [4, 16]),
    ("awq", "scales", [2, 256]),
    ("awq-gemv", "qweight", [128, 64]),
    ("awq-gemv", "qzeros", [256, 2]),
    ("awq-gemv", "scales", [256, 4]),
    ("awq-gemv-fast", "qweight", [32, 512]),
    ("awq-gemv-fast", "qzeros", [16, 256]),
    ("awq-gemv-fast", "scales", [8, 128]),
    ("ct-packed", "weight_packed", [128, 64]),
    ("ct-packed", "weight_scale", [256, 3]),
    ("ct-packed", "weight_zero_point", [32, 2]),
    ("ct-packed", "weight_shape", [3]),
    ("ct-packed-sym", "weight_scale", [128, 4]),
    ("ct-packed-actorder", "weight_g_idx", [500]),
    ("int8", "weight_scale", [128, 1]),
    ("int8-asym", "weight_scale", [256, 3]),
    ("int8-asym", "weight_zero_point", [256, 2]),
    ("fp8", "weight_scale", [128, 1]),
    ("fp8-static", "weight_scale", [256, 512]),
    ("fp8-block", "weight", [512, 512]),
    ("fp8-block", "weight_scale_inv", [4, 2]),
    ("fp8-block-native", "scale", [4, 2]),
    ("mxfp8", "weight", [256, 256]),
    ("mxfp8", "weight_scale", [256, 8]),
    ("nvfp4-packed", "weight_packed", [256, 128]),
    ("nvfp4-packed", "weight_scale", [256, 16]),
    ("mxfp4-packed", "weight_packed", [256, 128]),
    ("mxfp4-packed", "weight_scale", [128, 16]),
    ("nvfp4-modelopt", "weight", [256, 128]),
    ("nvfp4-modelopt", "weight_scale", [256, 16]),
    ("mxfp4", "gate_up_proj_blocks", [4, 512, 8, 12]),
    ("mxfp4", "gate_up_proj_scales", [4, 512, 4]),
    ("mxfp4", "down_proj_blocks", [4, 128, 8, 16]),
    ("torchao", "_weight_scale", [128, 1]),
    ("torchao", "_weight_zero_point", [128, 1]),
    ("torchao-nvfp4", "_weight_scale", [64, 64]),
    ("mx-plain", "weight_scale", [128, 16]),
    ("int4-modelopt", "weight_scale", [128, 4]),
    ("int4-modelopt", "pre_quant_scale", [256]),
    ("mlx-affine", "weight", [256, 63]),
    ("mlx-affine", "scales", [256, 4]),
    ("mlx-affine", "biases", [256, 4]),
    ("mlx-fp", "scales", [256, 12]),
]


def found(tensors: Tensors, sound: Tensors) -> set[str]:
    """Return the rules of this family that fire on a module of these tensors beside a sound one of its scheme."""
    rules = ["quant/scale-missing", "quant/codes-missing", "quant/role-dtype", "quant/role-shape"]
    held = {f"{MODULE}.{role}": entry for role, entry in tensors.items()}
    held |= {f"{SOUND}.{role}": entry for role, entry in sound.items()}
    report = check_source(recipe.build({"tensors": held}), [], select=rules)
    assert not report.crashes
    return {finding.rule for finding in report.findings}


def _twins() -> Iterator[Any]:
    for scheme, role in DROPPED:
        rest = {name: entry for name, entry in MODULES[scheme].items() if name != role}
        yield pytest.param(rest, scheme, "quant/scale-missing", id=f"{scheme} without {role}")
    for scheme, role in CODES:
        rest = {name: entry for name, entry in MODULES[scheme].items() if name != role}
        yield pytest.param(rest, scheme, "quant/codes-missing", id=f"{scheme} without {role}")
    for scheme, role, dtype in MISCAST:
        cast = {**MODULES[scheme], role: [dtype, MODULES[scheme][role][1]]}
        yield pytest.param(cast, scheme, "quant/role-dtype", id=f"{scheme} with {role} as {dtype}")
    for scheme, role, shape in MISSHAPEN:
        cut = {**MODULES[scheme], role: [MODULES[scheme][role][0], shape]}
        yield pytest.param(cut, scheme, "quant/role-shape", id=f"{scheme} with {role} of {shape}")


@pytest.mark.parametrize("scheme", MODULES)
def test_a_sound_module_is_left_alone(scheme: str) -> None:
    assert found(MODULES[scheme], MODULES[scheme]) == set()


@pytest.mark.parametrize(("tensors", "scheme", "rule"), list(_twins()))
def test_a_broken_twin_is_found_once(tensors: Tensors, scheme: str, rule: str) -> None:
    assert found(tensors, MODULES[scheme]) == {rule}
