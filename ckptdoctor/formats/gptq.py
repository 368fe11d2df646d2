"""GPTQ: one block for all modules, ``dynamic`` for those that differ; its two labels store zero points apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.nouns import Declared
from .base import Block, Format, Said, number
from .layout import Layout, Tensors

FIRST, SECOND = "gptq", "gptq_v2"
"""Labels (``checkpoint_format``): the first stores zero points less one."""
_BITS = (2, 3, 4, 8)


class Gptq(Format):
    """GPTQ."""

    zero_points = "qzeros"
    labels = (FIRST, SECOND)

    def said(self, declared: Declared) -> Said:
        """``QuantizeConfig`` of gptqmodel; ``dynamic`` changes bits and groups by the names of modules."""
        return packed(declared.block)

    def layout(self, block: Block) -> Layout | None:
        """Return the layout of every module, as far as ``dynamic`` says nothing else."""
        return layout(block)

    def label(self, zeros: bytes, bits: int) -> str | None:
        """Return the label whose symmetric zero points these are.

        A symmetric quantiser of 4 bits has zero point 8; the first format stores it less one (0x77777777), the second
        as is: ``convert_gptq_v2_to_v1_format_module`` of
        https://github.com/ModelCloud/GPTQModel/blob/v7.7.0/gptqmodel/utils/model.py takes one off every packed field.
        """
        if zeros != zeros[:bits] * (len(zeros) // bits):
            return None
        middle = 1 << bits - 1
        return {_eight(middle - 1, bits): FIRST, _eight(middle, bits): SECOND}.get(zeros[:bits])

    def leave_out(self, block: Block, modules: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Yield a rule of ``dynamic`` for each, where there are such."""
        for module in modules if isinstance(block.get("dynamic"), dict) else ():
            rule = f"-:{re.escape(module)}$".replace("~", "~0").replace("/", "~1")
            yield f"/dynamic/{rule}", {}


def layout(block: Block) -> Layout | None:
    """Return the layout, None when the numbers make no sense."""
    bits, group = number(block.get("bits")), number(block.get("group_size"))
    if bits not in _BITS:
        return None
    return Layout(
        FIRST,
        _tensors,
        bits=bits,
        group=group if group and group > 0 else None,
        symmetric=block.get("sym") is not False,
    )


def packed(block: Mapping[str, object]) -> Said:
    """Return what a block of GPTQ or AWQ says."""
    layout = block.get("checkpoint_format") or block.get("format") or block.get("version") or ""
    symmetric = block.get("sym")
    return Said(
        number(block.get("bits", block.get("w_bit"))),
        number(block.get("group_size", block.get("q_group_size"))),
        symmetric=symmetric if isinstance(symmetric, bool) else None,
        format=str(layout).lower(),
        varies=bool(block.get("dynamic")),
    )


def _eight(value: int, bits: int) -> bytes:
    """Return eight fields of one value, packed without gaps, which is as many bytes as a field has bits."""
    return sum(value << bits * field for field in range(8)).to_bytes(bits, "little")


def _tensors(layout: Layout, rows: int, columns: int) -> Tensors:
    groups = -(-columns // layout.group) if layout.group else 1
    return {
        "qweight": (columns * layout.bits // 32, rows),
        "qzeros": (groups, rows * layout.bits // 32),
        "scales": (groups, rows),
        "g_idx": (columns,),
    }


FORMAT = Gptq
