"""Schemes that are recognised and not judged: what their writers leave, by their own source, raises no alarm."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.rulebook import recipe
from ckptdoctor.schemes.base import Leaf
from ckptdoctor.schemes.recognise import recognise
from tests.support.shipped import RULEBOOK, check_source

WRITTEN: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "FBGEMM FP8": ("fp8", {"weight": ["F8_E4M3", [128, 256]], "weight_scale": ["F32", [128, 1]]}),
    "FBGEMM FP8 experts": (
        "fbgemm-experts",
        {
            "gate_up_proj": ["F8_E4M3", [4, 256, 1024]],
            "gate_up_proj_scale": ["F32", [4, 1, 1024]],
            "down_proj": ["F8_E4M3", [4, 512, 256]],
            "down_proj_scale": ["F32", [4, 256, 1]],
        },
    ),
    "HQQ 4-bit": (
        "hqq",
        {
            "W_q": ["U8", [256, 64]],
            "scale": ["BF16", [512, 1]],
            "zero": ["BF16", [512, 1]],
            "nbits": ["I32", [1]],
            "group_size": ["I32", [1]],
            "shape": ["I32", [2]],
            "axis": ["I32", [1]],
            "packing": ["U8", [9]],
        },
    ),
    "quanto int8": ("quanto-8bit", {"weight._data": ["I8", [128, 256]], "weight._scale": ["BF16", [128, 1]]}),
    "quanto float8": (
        "quanto-8bit",
        {"weight._data": ["F8_E4M3", [128, 256]], "weight._scale": ["BF16", [128, 1]]},
    ),
    "quanto int4": (
        "quanto-4bit",
        {
            "weight._data._data": ["U8", [128, 128]],
            "weight._scale": ["BF16", [256, 1]],
            "weight._shift": ["BF16", [256, 1]],
        },
    ),
    "EETQ": ("eetq", {"weight": ["I8", [256, 128]], "weight_scales": ["F16", [128]]}),
    "BitNet": ("bitnet", {"weight": ["U8", [32, 256]], "weight_scale": ["BF16", [1]]}),
    "AQLM": (
        "aqlm",
        {
            "codebooks": ["F16", [1, 65536, 1, 8]],
            "codes": ["I16", [128, 32, 1]],
            "scales": ["F16", [128, 1, 1, 1]],
        },
    ),
    "VPTQ": (
        "vptq",
        {
            "indices": ["I32", [1, 64, 32]],
            "perm": ["I16", [256]],
            "weight_scale": ["BF16", [256]],
            "weight_bias": ["BF16", [256]],
        },
    ),
    "HIGGS": (
        "higgs",
        {
            "weight": ["I16", [32, 256]],
            "scales": ["F16", [128, 1]],
            "tables": ["F16", [16]],
            "tables2": ["F16", [16, 16, 2]],
        },
    ),
    "SpQR": (
        "spqr",
        {
            "dense_weights": ["I64", [1024]],
            "row_offsets": ["I32", [129]],
            "col_vals": ["I32", [64]],
            "in_perm": ["I16", [256]],
        },
    ),
    "FP-Quant": (
        "fp-quant",
        {
            "qweight": ["U8", [128, 128]],
            "scales": ["U8", [128, 8]],
            "forward_hadamard_matrix": ["BF16", [32, 32]],
            "backward_hadamard_matrix": ["BF16", [32, 32]],
        },
    ),
    "AutoRound, packed as GPTQ": (
        "gptq",
        {"qweight": ["I32", [32, 128]], "qzeros": ["I32", [2, 16]], "scales": ["F16", [2, 128]]},
    ),
    "AutoRound, packed as AWQ": (
        "awq",
        {"qweight": ["I32", [256, 16]], "qzeros": ["I32", [2, 16]], "scales": ["F16", [2, 128]]},
    ),
    "Quark FP8": (
        "fp8",
        {"weight": ["F8_E4M3", [128, 256]], "weight_scale": ["F32", []], "input_scale": ["F32", []]},
    ),
    "Quark MXFP4": ("mx-plain", {"weight": ["U8", [128, 128]], "weight_scale": ["U8", [128, 8]]}),
    "Quark MXFP6": ("mx-plain", {"weight": ["U8", [128, 192]], "weight_scale": ["U8", [128, 8]]}),
    "Quark NVFP4": (
        "nvfp4-modelopt",
        {
            "weight": ["U8", [128, 128]],
            "weight_scale": ["F8_E4M3", [128, 16]],
            "weight_scale_2": ["F32", []],
            "input_scale_2": ["F32", []],
        },
    ),
    "Quark INT4": (
        "quark-int4",
        {
            "weight": ["I32", [256, 16]],
            "weight_scale": ["BF16", [2, 128]],
            "weight_zero_point": ["I32", [2, 16]],
        },
    ),
    "Quark INT8": ("int8", {"weight": ["I8", [128, 256]], "weight_scale": ["BF16", [128]]}),
    "Metal": (
        "metal",
        {"weight": ["U32", [128, 32]], "scales": ["F16", [128, 4]], "qbiases": ["F16", [128, 4]]},
    ),
    "BitBLAS": (
        "awq",
        {"qweight": ["I8", [128, 128]], "scales": ["F16", [128, 2]], "zeros": ["I8", [2, 64]]},
    ),
    "ModelOpt FP8 with a scale of the cache": (
        "fp8",
        {"weight": ["F8_E4M3", [128, 256]], "weight_scale": ["F32", []], "k_scale": ["F32", []]},
    ),
}
"""What it is → the scheme that is recognised, and the tensors of one layer of 256 x 128."""


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_recognised(name: str) -> None:
    scheme, tensors = WRITTEN[name]
    leaves = tuple(sorted(Leaf(role, dtype, tuple(shape)) for role, (dtype, shape) in tensors.items()))
    stored = recognise(leaves, None, RULEBOOK)
    assert stored.quantized
    if name != "BitBLAS":  # has no scheme here: only that nothing is said of it counts
        assert stored.scheme == scheme


@pytest.mark.parametrize("name", WRITTEN)
def test_no_rule_on_roles_is_alarmed(name: str) -> None:
    tensors = {f"model.layers.0.mlp.down_proj.{role}": entry for role, entry in WRITTEN[name][1].items()}
    select = ["quant/scale-missing", "quant/codes-missing", "quant/role-dtype", "quant/role-shape"]
    report = check_source(recipe.build({"tensors": tensors}), [], select=select)
    assert [f"{finding.rule}: {finding.message}" for finding in report.findings] == []
    assert not report.crashes
