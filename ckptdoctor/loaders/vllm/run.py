"""What vLLM's model derives from a checkpoint, each once and only when a step asks."""

from __future__ import annotations

from functools import cached_property

from ..base import Run, Test
from ..shared.modules import Architecture, architecture
from .block import Block, declares_bnb, declaring
from .skiplist import own_test


class VllmRun(Run):
    """A run of vLLM."""

    @cached_property
    def block(self) -> Block:
        """The object that declares a quantisation, empty where there is none."""
        return declaring(self.ckpt)

    @cached_property
    def known(self) -> Architecture:
        """What the class in ``architectures`` asks for: vLLM goes by it, not by ``model_type``."""
        return architecture(self.ckpt, self.view, "class")

    @cached_property
    def skipped(self) -> Test:
        """The test whether ``llm_int8_skip_modules`` names a module (or the module of a weight)."""
        listed = self.block.get("llm_int8_skip_modules")
        entries = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
        return own_test(entries, self.data)

    @cached_property
    def architectures(self) -> list[object]:
        """``architectures`` of config.json, empty where that is no list."""
        names = self.ckpt.config.get("architectures")
        return names if isinstance(names, list) else []

    @cached_property
    def through_transformers(self) -> bool:
        """Whether the class is built by transformers inside vLLM (``_TRANSFORMERS_SUPPORTED_MODELS``)."""
        first = self.architectures[0] if self.architectures else ""
        return any(first in row["names"].split() for row in self.rows("through_transformers"))

    @cached_property
    def drops_name(self) -> Test:
        """The test whether a tensor (by template) without a parameter is passed over, not raised at.

        Some models' own ``load_weights`` of old do so (``models/qwen2.py``), but not for a part of a fused layer.
        """
        lenient = any(row["architecture"] in self.architectures for row in self.rows("unknown_names_skipped"))
        fused = {part for parts in self.data.get("fused", {}).values() for part in parts}
        return lambda tensor: lenient and fused.isdisjoint(tensor.split("."))

    @cached_property
    def inflight(self) -> bool:
        """Whether the weights are quantised while they load, because the caller asks and no config does."""
        return bool(self.target.options.get("quantization")) and not declares_bnb(self.block)
