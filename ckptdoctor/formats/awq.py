"""AWQ: a block of its own keys (``w_bit``, ``q_group_size``) or of GPTQ's."""

from __future__ import annotations

from ..checkpoint.nouns import Declared
from .base import Block, Format, Said, number
from .gptq import packed
from .layout import Layout, Tensors


class Awq(Format):
    """AWQ; ``version`` names the kernel that the packing is for."""

    def said(self, declared: Declared) -> Said:
        """``AwqConfig`` of AutoAWQ."""
        return packed(declared.block)

    def layout(self, block: Block) -> Layout | None:
        """Return the layout for the gemm kernel."""
        return layout(block)


def layout(block: Block) -> Layout | None:
    """Return the layout for the gemm kernel, None when the numbers make no sense."""
    bits = number(block.get("w_bit", block.get("bits")))
    group = number(block.get("q_group_size", block.get("group_size")))
    if bits not in (4, 8):
        return None
    return Layout(
        "awq",
        _tensors,
        bits=bits,
        group=group if group and group > 0 else None,
        symmetric=block.get("zero_point") is False,
    )


def _tensors(layout: Layout, rows: int, columns: int) -> Tensors:
    per = 32 // layout.bits
    groups = -(-columns // layout.group) if layout.group else 1
    found: Tensors = {"qweight": (columns, rows // per), "scales": (groups, rows)}
    return found if layout.symmetric else {**found, "qzeros": (groups, rows // per)}


FORMAT = Awq
