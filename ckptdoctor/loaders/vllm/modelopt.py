"""ModelOpt in vLLM: quantization/modelopt.py."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats import modelopt
from ...formats.layout import Layout
from ..base import Test
from . import names
from .packed import Packed, is_head

_ALGORITHMS = frozenset(
    {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO", "NVFP4", "W4A16_NVFP4", "MXFP8", "MIXED_PRECISION"}
)
_NESTED, _NESTED_KEYS = "NVFP4", ("group_size", "kv_cache_quant_algo", "exclude_modules")
"""An algorithm, and what the older form of its block must have."""


class ModelOpt(Packed):
    """ModelOpt's FP8 and NVFP4, declared in config.json or in a file of their own."""

    name = "modelopt"

    @cached_property
    def _layout(self) -> Layout | None:
        return modelopt.layout(self.run.block)

    @cached_property
    def _skipped(self) -> Test:
        """``ModelOptQuantConfigBase.is_layer_excluded``."""
        return names.excluded(modelopt.listed(self.run.block), self.run.data)

    @cached_property
    def _packs_head(self) -> bool:
        """``get_quant_method``: ParallelLMHead is asked for as well as LinearBase."""
        return self.run.does("modelopt-head-is-quantised")

    def refused(self) -> Iterator[tuple[str, str]]:
        """Yield what ``ModelOptQuantConfigBase.from_config`` stops at."""
        block = self.run.block
        name = modelopt.algorithm(block)
        if name not in _ALGORITHMS:
            yield "quant_algo", name or "absent"
        elif name == _NESTED and "quantization" in block:
            for key in _NESTED_KEYS:
                if key not in modelopt.inner(block):
                    yield key, "absent"

    def doubt(self) -> str:
        """Other algorithms are not modelled."""
        name = modelopt.algorithm(self.run.block)[:40]
        return "" if self._layout else f"ModelOpt's {name} is not modelled"

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``get_quant_method``: every linear layer that is not excluded, the head where it is asked for."""
        if self._skipped(module) or (is_head(module) and not self._packs_head):
            return None
        return self._layout


METHOD = ModelOpt
