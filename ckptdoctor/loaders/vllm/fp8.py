"""FP8 in vLLM: quantization/fp8.py and utils/fp8_utils.py."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats import fp8
from ...formats.base import texts
from ...formats.layout import Layout
from ..base import Test
from . import names
from .packed import Packed, is_head


class Fp8(Packed):
    """FP8, with a scale for each tensor or for each tile."""

    name = "fp8"

    @cached_property
    def _layout(self) -> Layout:
        return fp8.layout(self.run.block)

    @cached_property
    def _skipped(self) -> Test:
        """``Fp8Config.from_config``: ``ignored_layers``, else ``modules_to_not_convert``."""
        block = self.run.block
        listed = texts(block.get("ignored_layers")) or texts(block.get("modules_to_not_convert"))
        fused = self.run.does("lists-know-fused-names")
        return names.in_list(listed, self.run.data, whole=True, fused_names=fused)

    def split_layouts(self) -> Sequence[Layout]:
        """Tiles must come out whole (``validate_fp8_block_shape``)."""
        return (self._layout,)

    @cached_property
    def refines_tiles(self) -> bool:
        """``oracle/fp8.refine_fp8_moe_block_shape``."""
        return self.run.does("fp8-expert-tiles-are-refined")

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``Fp8Config.get_quant_method``: every linear layer that is not ignored; the head is none of them."""
        return None if is_head(module) or self._skipped(module) else self._layout


METHOD = Fp8
