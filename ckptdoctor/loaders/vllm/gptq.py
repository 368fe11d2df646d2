"""GPTQ in vLLM: quantization/auto_gptq.py (gptq.py and gptq_marlin.py up to 0.22) and utils/gptq_utils.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats import gptq
from ...formats.base import number, texts
from ...formats.layout import Layout
from ...model import Outcome
from . import names
from .packed import Packed, has_codes, is_head


class Gptq(Packed):
    """GPTQ; without a list of modules the dtypes in the files tell which are packed."""

    name = "gptq"
    input_first = True
    halves_groups = True

    @cached_property
    def _layout(self) -> Layout | None:
        return gptq.layout(self.run.block)

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        return texts(self.run.block.get("modules_in_block_to_quantize"))

    @cached_property
    def _overrides(self) -> Callable[[str], Mapping[str, object] | None]:
        rules = self.run.block.get("dynamic")
        return names.by_rule(rules if isinstance(rules, dict) else {}, self.run.data)

    @cached_property
    def _everything(self) -> bool:
        """``is_layer_gptq_quantized``: a file without any codes counts as not read, and every layer as packed."""
        nothing = not any(map(has_codes, self.run.view.signatures))
        return nothing and self.run.does("gptq-without-codes-is-gptq")

    def split_layouts(self) -> Sequence[Layout]:
        """Groups must come out whole (``verify_group_size_divides_partition``)."""
        return () if self._layout is None else (self._layout,)

    def refused(self) -> Iterator[tuple[str, str]]:
        """Yield an activation order and a width that there is no kernel for (``AutoGPTQConfig.__init__``)."""
        block = self.run.block
        bits = number(block.get("w_bit", block.get("bits"))) or 0
        grouped = number(block.get("group_size")) not in (None, -1)
        if block.get("desc_act") is True and grouped and self.run.does("desc-act-refused"):
            yield "desc_act", "true"
        odd = bits not in (4, 8) or block.get("sym") is False
        if odd and self.run.does("gptq-is-4-or-8-bit-symmetric"):
            yield "bits", f"{bits}, sym {str(block.get('sym')).lower()}"

    def doubt(self) -> str:
        """Only what every device has a kernel for is modelled."""
        if self.run.block.get("sym") is False or self.run.block.get("bits") not in (4, 8):
            return "asymmetric GPTQ, or of other widths than 4 and 8, depends on the device"
        return "" if self._layout else "gptq with these bits is not modelled"

    def doubt_of_experts(self) -> str:
        """``moe_wna16.py`` and Marlin's experts do not ask the rules alike."""
        rules = self.run.block.get("dynamic")
        if isinstance(rules, dict) and any(rule.startswith("-:") for rule in rules):
            return "GPTQ rules leave out experts or not, as the kernel for their sizes has it"
        return ""

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``gptq_utils.get_linear_quant_method``: the block with what a rule says otherwise of this module."""
        found = self._overrides(module)
        if found is None or not self._packs(signature, module):
            return None
        return gptq.layout({**self.run.block, **found})

    def _packs(self, signature: Signature, module: str) -> bool:
        """``is_layer_gptq_quantized``: a head only where the config says so, and no list is asked about experts."""
        if is_head(module) and not (self.run.block.get("lm_head") is True and has_codes(signature)):
            return False
        if names.experts_of(module):
            return True
        if self._listed:
            return names.named(module, self._listed)
        return self._everything or has_codes(signature)

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """Without an activation order ExLlama's kernel reads g_idx, Marlin's does not; zero points are not read."""
        outcome = super().part_missing(leaf, layout)
        if leaf == "g_idx" and outcome != "ok" and self.run.block.get("desc_act") is not True:
            return "unknown"
        if leaf == "qzeros":
            return "ok" if self.run.does("gptq-zero-points-unread") else "unknown"
        return outcome


METHOD = Gptq
