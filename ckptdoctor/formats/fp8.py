"""FP8 of DeepSeek-V3 and Qwen3-FP8: one block, tiles or whole tensors with a scale each."""

from __future__ import annotations

from collections.abc import Sequence

from ..checkpoint.nouns import Declared
from .base import Block, Format, Said, pair, tile
from .layout import SCALAR, Layout, Tensors


class Fp8(Format):
    """FP8."""

    def said(self, declared: Declared) -> Said:
        """``FineGrainedFP8Config`` of transformers."""
        return Said(8, block=pair(declared.block.get("weight_block_size")))

    def bare(self, declared: Declared) -> str:
        """Return the scheme with tiles where the block states them."""
        tiled, whole = "fp8-block", "fp8"
        return whole if self.said(declared).block is None else tiled

    def layout(self, block: Block) -> Layout:
        """Return the layout of every module that is not left alone."""
        return layout(block)


def layout(block: Block) -> Layout:
    """Return the layout."""
    tiles, static = tile(block.get("weight_block_size")), block.get("activation_scheme") == "static"
    return Layout("fp8", _tensors, block=tiles, per_tensor=tiles is None, static_input=static)


def block(size: int, skipped: Sequence[str], *, static: bool) -> dict[str, object]:
    """Return the block that declares square tiles of ``size``, as transformers writes it."""
    return {
        "activation_scheme": "static" if static else "dynamic",
        "modules_to_not_convert": list(skipped),
        "quant_method": "fp8",
        "weight_block_size": [size, size],
    }


def _tensors(layout: Layout, rows: int, columns: int) -> Tensors:
    name = "weight_scale_inv" if layout.block else "weight_scale"
    found: Tensors = {"weight": (rows, columns), name: layout.scales(rows, columns)}
    return {**found, "input_scale": SCALAR} if layout.static_input else found


FORMAT = Fp8
