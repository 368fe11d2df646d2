"""Codes without their scale: told where other modules or the config name the scheme, left alone where nobody does."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.rulebook import recipe
from tests.support.shipped import check_source

MODULE = "model.layers.0.mlp.down_proj"
CODES: dict[str, dict[str, list[Any]]] = {
    "F8_E4M3": {f"{MODULE}.weight": ["F8_E4M3", [64, 128]]},
    "F8_E5M2": {f"{MODULE}.weight": ["F8_E5M2", [64, 128]]},
    "I8": {f"{MODULE}.weight": ["I8", [64, 128]]},
}


def group(kind: str, bits: int) -> dict[str, Any]:
    return {
        "group_0": {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind, "strategy": "channel"}}
    }


FLOAT = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": group("float", 8),
}
INT = {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": group("int", 8)}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
BLOCKS = {**FP8, "weight_block_size": [32, 32]}


def found(tensors: dict[str, list[Any]], block: dict[str, Any] | None = None, **more: Any) -> list[str]:
    config: dict[str, Any] = {"model_type": "llama"} | ({"quantization_config": block} if block else {})
    built = recipe.build({"config": config, "tensors": tensors, **more})
    report = check_source(built, [], select=["quant/scale-missing", "quant/codes-missing"])
    assert not report.crashes
    return [finding.message for finding in report.findings]


@pytest.mark.parametrize(
    ("dtype", "block", "scheme", "role"),
    [
        ("F8_E4M3", FP8, "fp8", "weight_scale"),
        ("F8_E5M2", FP8, "fp8", "weight_scale"),
        ("F8_E4M3", BLOCKS, "fp8-block", "weight_scale_inv"),
        ("F8_E4M3", FLOAT, "fp8", "weight_scale"),
        ("F8_E4M3", {"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", "weight_scale"),
        ("I8", INT, "int8", "weight_scale"),
    ],
)
def test_the_declared_scheme_tells(dtype: str, block: dict[str, Any], scheme: str, role: str) -> None:
    assert found(CODES[dtype], block) == [f"{MODULE} is stored as {scheme} but has no {role}"]


def test_a_sidecar_tells_too() -> None:
    sidecar = {"hf_quant_config.json": {"json": {"quantization": {"quant_algo": "FP8"}}}}
    assert found(CODES["F8_E4M3"], files=sidecar) == [f"{MODULE} is stored as fp8 but has no weight_scale"]


@pytest.mark.parametrize("dtype", CODES)
def test_nobody_tells(dtype: str) -> None:
    assert found(CODES[dtype]) == []


@pytest.mark.parametrize(
    "scale",
    ["weight_scale", "weight_scale_inv", "scale", "weight_scales", "qscale_weight", "scale_weight", "SCB"],
)
@pytest.mark.parametrize("block", [FP8, BLOCKS, FLOAT])
def test_a_scale_under_any_name_is_left_alone(scale: str, block: dict[str, Any]) -> None:
    assert found({**CODES["F8_E4M3"], f"{MODULE}.{scale}": ["F32", [2, 4]]}, block) == []


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_a_plain_weight_is_left_alone(dtype: str) -> None:
    assert found({f"{MODULE}.weight": [dtype, [64, 128]]}, FP8) == []


def test_integers_under_a_config_for_floats_are_left_to_other_rules() -> None:
    assert found(CODES["I8"], FP8) == []
