"""compressed-tensors: ``config_groups``, each with settings and the modules it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Declared, Signature
from .base import Block, Format, Said, number, pair, texts, tile
from .layout import SCALAR, Layout, Tensors

_WORD = 32
"""Bits of the words that weights are packed in."""


class Group(NamedTuple):
    """One of the ``config_groups``."""

    targets: tuple[str, ...]
    layout: Layout
    actorder: str
    """``group``, ``weight``…, "" for none."""
    has_inputs: bool
    """Activations are quantised too."""


class CompressedTensors(Format):
    """compressed-tensors; with several groups nothing holds for all modules."""

    def said(self, declared: Declared) -> Said:
        """``QuantizationConfig`` of compressed-tensors."""
        groups = declared.block.get("config_groups")
        return said(declared.block, groups) if isinstance(groups, dict) else Said()

    def stores(self, declared: Declared) -> tuple[frozenset[str], str]:
        """Say nothing of several groups."""
        return (frozenset(), "") if self.said(declared).varies else super().stores(declared)

    def may_be(self, signature: Signature, said: Said) -> bool:
        """Judge no widths that do not divide a word: 0.12 left gaps in each, 0.20 leaves none."""
        return bool(said.bits and _WORD % said.bits) or super().may_be(signature, said)


def said(block: Block, groups: Mapping[str, object]) -> Said:
    """Return what the only group of a block says."""
    if len(groups) != 1:
        return Said(format=str(block.get("format") or ""), varies=True)
    [(name, group)] = groups.items()
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        return Said(format=str(block.get("format") or ""))
    whole_rows = weights.get("strategy") == "channel"
    symmetric = weights.get("symmetric")
    return Said(
        number(weights.get("num_bits")),
        -1 if whole_rows else number(weights.get("group_size")),
        pair(weights.get("block_structure")),
        symmetric if isinstance(symmetric, bool) else None,
        str(group.get("format") or block.get("format") or ""),
        f"/config_groups/{name}/weights",
    )


def weights_only(block: Block) -> bool:
    """Whether there are groups, and every one says that activations stay as they are."""
    groups = block.get("config_groups")
    rows = list(groups.values()) if isinstance(groups, dict) else []
    return bool(rows) and all(isinstance(row, dict) and row.get("input_activations") is None for row in rows)


def groups(block: Block) -> tuple[Group, ...]:
    """Return the groups of a block, in order."""
    found = block.get("config_groups")
    rows = found.values() if isinstance(found, dict) else ()
    return tuple(
        _group(row, row["weights"], block)
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("weights"), dict)
    )


def _group(row: Block, weights: Block, block: Block) -> Group:
    inputs = row.get("input_activations")
    word = str(row.get("format") or block.get("format") or "")
    strategy = str(weights.get("strategy") or ("group" if weights.get("group_size") else "tensor"))
    size, bits = number(weights.get("group_size")), number(weights.get("num_bits"))
    layout = Layout(
        word,
        _TENSORS.get(word),
        bits=8 if bits is None else bits,
        group=size if size and size > 0 and strategy in ("group", "tensor_group") else None,
        block=tile(weights.get("block_structure")) if strategy == "block" else None,
        per_tensor=strategy == "tensor",
        symmetric=weights.get("symmetric", True) is not False,
        static_input=isinstance(inputs, dict) and inputs.get("dynamic") in (False, None, "local"),
    )
    return Group(
        texts(row.get("targets")), layout, str(weights.get("actorder") or ""), isinstance(inputs, dict)
    )


def _packed(layout: Layout, rows: int, columns: int) -> Tensors:
    scales = layout.scales(rows, columns)
    found: Tensors = {
        "weight_packed": (rows, -(-columns * layout.bits // _WORD)),
        "weight_scale": scales,
        "weight_shape": (2,),
    }
    if not layout.symmetric:
        found["weight_zero_point"] = (-(-rows * layout.bits // _WORD), scales[-1])
    return found


def _whole(layout: Layout, rows: int, columns: int) -> Tensors:
    found: Tensors = {"weight": (rows, columns), "weight_scale": layout.scales(rows, columns)}
    return {**found, "input_scale": SCALAR} if layout.static_input else found


def _nvfp4(layout: Layout, rows: int, columns: int) -> Tensors:
    found: Tensors = {
        "weight_packed": (rows, columns // 2),
        "weight_scale": (rows, columns // 16),
        "weight_global_scale": SCALAR,
    }
    return {**found, "input_global_scale": SCALAR} if layout.static_input else found


def _mxfp4(layout: Layout, rows: int, columns: int) -> Tensors:
    return {"weight_packed": (rows, columns // 2), "weight_scale": (rows, columns // 32)}


_TENSORS = {
    "pack-quantized": _packed,
    "int-quantized": _whole,
    "float-quantized": _whole,
    "naive-quantized": _whole,
    "nvfp4-pack-quantized": _nvfp4,
    "mxfp4-pack-quantized": _mxfp4,
}
"""``format`` of a group → its tensors."""

FORMAT = CompressedTensors
