"""AWQ in transformers 5: quantizers/quantizer_awq.py and integrations/awq.py of 5.23.0."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats import awq
from ...formats.base import texts
from ...formats.layout import Layout
from ...model import Location
from ..base import Event, Test
from ..shared import skips
from ..shared.quantised.matching import is_linear
from .packed import Packed

_SKIPPED = "modules_to_not_convert"
_NOTHING = "UnboundLocalError: cannot access local variable 'has_been_replaced'"


class Awq(Packed):
    """All linear layers but the head and those of the skip list."""

    @cached_property
    def _layout(self) -> Layout | None:
        """Zero points are always asked for (``replace_with_awq_linear``)."""
        layout = awq.layout(self.run.block)
        return layout._replace(symmetric=False) if layout else None

    @cached_property
    def _skipped(self) -> Test:
        return skips.transformers5((*texts(self.run.block.get(_SKIPPED)), "lm_head"))

    def doubt(self) -> str:
        """Other kernels, and widths whose tensors are not known."""
        block = self.run.block
        if str(block.get("version") or block.get("format") or "gemm").lower() != "gemm":
            return "AWQ kernels other than gemm depend on the device"
        return "" if self._layout else "awq of this width has not been observed in transformers"

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``should_convert_module`` of quantizers_utils.py."""
        return None if self._skipped(module) else self._layout

    def refused(self) -> Iterator[Event]:
        """``replace_with_awq_linear`` returns a variable that only a replaced layer sets."""
        linear = [s for s in self.run.view.signatures if s.modules and is_linear(s, self.run.known)]
        if linear and all(self._skipped(module) for s in linear for module in s.modules):
            at = (Location("config.json", f"/quantization_config/{_SKIPPED}"),)
            yield Event("nothing-quantized", "fails", {"key": _SKIPPED}, at, error=_NOTHING)


METHOD = Awq
