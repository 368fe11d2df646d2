"""GPTQ in transformers 5: quantizers/quantizer_gptq.py of 5.23.0 and gptq/quantizer.py of optimum 2.3.0."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...expected.comparison import Missing
from ...formats import gptq
from ...formats.base import texts
from ...formats.layout import Layout
from ...model import Location, Outcome
from ..base import Event
from .packed import Packed

_LISTED = "modules_in_block_to_quantize"
_FLAT = 'TypeError: can only concatenate list (not "str") to list'


class Gptq(Packed):
    """All linear layers of the decoder, or those whose names end as the list says; ``dynamic`` is not read."""

    @cached_property
    def _layout(self) -> Layout | None:
        return gptq.layout(self.run.block)

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        return texts(self.run.block.get(_LISTED))

    def doubt(self) -> str:
        """Other formats of a checkpoint, and widths whose tensors are not known."""
        if self.run.block.get("checkpoint_format", "gptq") not in ("gptq", "gptq_v2"):
            return "what transformers makes of this checkpoint_format has not been observed"
        return "" if self._layout else "gptq of this width has not been observed in transformers"

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``GPTQQuantizer.convert_model``: ``get_layers`` of the blocks that ``get_block_name_with_pattern`` finds."""
        if ".layers." not in f".{module}" and ".h." not in f".{module}":
            return None
        return self._layout if not self._endings or module.endswith(self._endings) else None

    def refused(self) -> Iterator[Event]:
        """``GPTQQuantizer.convert_model`` adds up a list of lists."""
        listed = self.run.block.get(_LISTED)
        if isinstance(listed, list) and any(isinstance(item, str) for item in listed):
            at = (Location("config.json", f"/quantization_config/{_LISTED}"),)
            value = "that is not a list of lists"
            details = {"loader": "transformers", "method": "gptq", "key": _LISTED, "value": value}
            yield Event("method-refused", "fails", details, at, error=_FLAT)

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """What was in memory is taken for the part; of ``g_idx`` those are groups that do not exist."""
        return "fails-late" if leaf == "g_idx" else super().part_missing(leaf, layout)

    def module_missing(self, row: Missing) -> Outcome:
        """``g_idx`` is missing with the rest."""
        return "fails-late"


METHOD = Gptq
