"""Threes: ``{"quant_method": "threes", "per": 64, "leave_out": ["lm_head"]}``."""

from __future__ import annotations

from ckptdoctor.checkpoint.nouns import Declared
from ckptdoctor.formats.base import Block, Format, Said, number
from ckptdoctor.formats.layout import Layout, Tensors

BITS = 2


class Threes(Format):
    """Threes."""

    def said(self, declared: Declared) -> Said:
        """Two bits, and ``per`` values for each step."""
        return Said(BITS, number(declared.block.get("per")))

    def layout(self, block: Block) -> Layout | None:
        """Return the layout of every module that is not left out."""
        group = number(block.get("per"))
        return Layout(self.name, _tensors, bits=BITS, group=group) if group else None


def _tensors(layout: Layout, rows: int, columns: int) -> Tensors:
    return {"trits": (rows, columns * layout.bits // 8), "steps": layout.scales(rows, columns)}


FORMAT = Threes
