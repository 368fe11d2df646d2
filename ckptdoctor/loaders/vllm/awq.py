"""AWQ in vLLM: quantization/auto_awq.py (awq.py and awq_marlin.py up to 0.24)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats import awq
from ...formats.base import number, texts
from ...formats.layout import Layout
from ..base import Test
from . import names
from .packed import Packed, has_codes, is_head


class Awq(Packed):
    """AWQ; without a skip list the dtypes in the files tell which layers are packed."""

    name = "awq"
    input_first = True
    halves_groups = True

    @cached_property
    def _declared(self) -> Layout | None:
        return awq.layout(self.run.block)

    @cached_property
    def _layout(self) -> Layout | None:
        """Zero points have a place whatever ``zero_point`` says (``BaseAWQLinearMethod.create_weights``)."""
        return self._declared._replace(symmetric=False) if self._declared else None

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        return texts(self.run.block.get("modules_to_not_convert"))

    @cached_property
    def _skipped(self) -> Test:
        fused = self.run.does("lists-know-fused-names")
        return names.in_list(self._listed, self.run.data, whole=False, fused_names=fused)

    def split_layouts(self) -> Sequence[Layout]:
        """Groups must come out whole (``verify_group_size_divides_partition``)."""
        return () if self._declared is None else (self._declared,)

    def refused(self) -> Iterator[tuple[str, str]]:
        """Yield another width than 4 (``AutoAWQConfig.__init__``)."""
        bits = number(self.run.block.get("w_bit", self.run.block.get("bits")))
        if bits and bits != 4:
            yield "bits", str(bits)

    def doubt(self) -> str:
        """Only widths whose tensors are known are modelled."""
        return "" if self._layout else "awq with these bits is not modelled"

    def doubt_of_experts(self) -> str:
        """cpu_awq of old builds plain experts."""
        if self.run.does("awq-experts-are-quantised"):
            return ""
        return "AWQ experts of this version have a path of their own on a CPU, and were not observed on a GPU"

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``get_quant_method`` asks the list, ``maybe_update_config`` the files where there is none."""
        if is_head(module):
            return None
        packed = not self._skipped(module) if self._listed else has_codes(signature)
        return self._layout if packed else None


METHOD = Awq
