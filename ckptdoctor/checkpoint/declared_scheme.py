"""What a quantisation block says about its weights, in one form whatever dialect it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .nouns import Declared

_MODELOPT_BITS = {"FP8": 8, "FP8_PB_WO": 8, "NVFP4": 4, "W4A16_NVFP4": 4, "MXFP8": 8, "W4A16_AWQ": 4}


class Said(NamedTuple):
    """The weights as declared; None where the block does not say, or says several things."""

    bits: int | None = None
    group: int | None = None
    """Values per scale along the input dimension, -1 for one scale a row."""
    block: tuple[int, int] | None = None
    """Rows and columns per scale."""
    symmetric: bool | None = None
    format: str = ""
    """``pack-quantized``, ``gptq_v2``, ``gemm``, ``NVFP4``: the layout under the method's own name."""
    pointer: str = ""
    """Where the numbers stand, below the pointer of the declaration."""
    varies: bool = False
    """Modules may differ: several groups, or overrides by name."""


def said(declared: Declared) -> Said:
    """Return what ``declared`` says about the weights."""
    block = declared.block
    if "quant_algo" in block:
        algo = str(block["quant_algo"])
        return Said(_MODELOPT_BITS.get(algo), _number(block.get("group_size")), format=algo)
    groups = block.get("config_groups")
    if isinstance(groups, dict):
        return _compressed(block, groups)
    if declared.method in ("gptq", "awq") or (not declared.method and "w_bit" in block):
        return _packed(block)
    if declared.method == "fp8":
        sizes = block.get("weight_block_size")
        return Said(8, block=_pair(sizes))
    if declared.pointer == "/quantization" or (not declared.method and "group_size" in block):
        nested = any(isinstance(value, dict) for value in block.values())
        return Said(
            _number(block.get("bits")),
            _number(block.get("group_size")),
            format=str(block.get("mode", "affine")),
            varies=nested,
        )
    return Said()


def _packed(block: Mapping[str, object]) -> Said:
    """GPTQ and AWQ; ``dynamic`` changes bits and groups by the names of modules."""
    bits = _number(block.get("bits", block.get("w_bit")))
    group = _number(block.get("group_size", block.get("q_group_size")))
    layout = block.get("checkpoint_format") or block.get("format") or block.get("version") or ""
    symmetric = block.get("sym")
    return Said(
        bits,
        group,
        symmetric=symmetric if isinstance(symmetric, bool) else None,
        format=str(layout).lower(),
        varies=bool(block.get("dynamic")),
    )


def _compressed(block: Mapping[str, object], groups: Mapping[str, object]) -> Said:
    """compressed-tensors; with several groups nothing holds for all modules."""
    if len(groups) != 1:
        return Said(format=str(block.get("format") or ""), varies=True)
    [(name, group)] = groups.items()
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        return Said(format=str(block.get("format") or ""))
    whole_rows = weights.get("strategy") == "channel"
    symmetric = weights.get("symmetric")
    return Said(
        _number(weights.get("num_bits")),
        -1 if whole_rows else _number(weights.get("group_size")),
        _pair(weights.get("block_structure")),
        symmetric if isinstance(symmetric, bool) else None,
        str(group.get("format") or block.get("format") or ""),
        f"/config_groups/{name}/weights",
    )


def _number(value: object) -> int | None:
    return value if type(value) is int else None


def _pair(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(type(size) is int for size in value):
        return value[0], value[1]
    return None
