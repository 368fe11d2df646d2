"""Every packed width of compressed-tensors under the config that the library itself writes for it: no alarm."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckptdoctor.rulebook import recipe
from tests.support.shipped import check_source

from ..conftest import ROOT

RECORDS = json.loads((ROOT / "fixtures" / "headers" / "compressed_tensors.json").read_text(encoding="utf-8"))
HEADERS: dict[str, dict[str, list[Any]]] = {name: record["tensors"] for name, record in RECORDS.items()}
RULES = ["quant/declared-bits", "quant/declared-group", "quant/role-shape", "quant/scale-missing"]


def found(tensors: dict[str, list[Any]], bits: int, group: int, symmetric: bool = True) -> list[str]:
    """Return the rules that fire on one module under compressed-tensors' block for these numbers."""
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "group_size": group}
    weights |= {"strategy": "group", "block_structure": None, "dynamic": False, "actorder": None}
    config = {
        "model_type": "llama",
        "quantization_config": {
            "config_groups": {
                "group_0": {"targets": ["Linear"], "weights": weights, "format": "pack-quantized"}
            },
            "format": "pack-quantized",
            "ignore": ["lm_head"],
            "kv_cache_scheme": None,
            "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
        },
    }
    named = {f"model.layers.0.mlp.down_proj.{role}": entry for role, entry in tensors.items()}
    report = check_source(recipe.build({"config": config, "tensors": named}), [], select=RULES)
    assert not report.crashes
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_preset_is_left_alone(bits: int) -> None:
    assert found(HEADERS[f"W{bits}A16"], bits, 128) == []


def test_an_asymmetric_one_too() -> None:
    assert found(HEADERS["W4A16_ASYM"], 4, 128, symmetric=False) == []


@pytest.mark.parametrize("group", [16, 48, 256, 512])
def test_unusual_groups_are_left_alone(group: int) -> None:
    columns = 1536
    tensors = {
        "weight_packed": ["I32", [128, columns // 8]],
        "weight_scale": ["BF16", [128, columns // group]],
        "weight_shape": ["I64", [2]],
    }
    assert found(tensors, 4, group) == []


@pytest.mark.parametrize("bits", [3, 5, 6])
def test_widths_that_compressed_tensors_0_12_padded_are_left_alone(bits: int) -> None:
    tensors = {
        "weight_packed": ["I32", [128, -(-256 // (32 // bits))]],
        "weight_scale": ["BF16", [128, 2]],
        "weight_shape": ["I64", [2]],
    }
    assert found(tensors, bits, 128) == []


def test_another_width_than_declared_is_found() -> None:
    assert found(HEADERS["W4A16_ASYM"], 8, 128, symmetric=False) == ["quant/declared-bits"]


def test_another_group_than_declared_is_found() -> None:
    assert found(HEADERS["W4A16_ASYM"], 4, 64, symmetric=False) == ["quant/declared-group"]
