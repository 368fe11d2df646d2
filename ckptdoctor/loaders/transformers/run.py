"""What the model of transformers derives from a checkpoint, each once and only when a step asks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..base import Run, Test
from ..shared.modules import Architecture, architecture, elsewhere
from .skiplist import tests

Block = Mapping[str, object]
_DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}


class TransformersRun(Run):
    """A run of transformers."""

    @cached_property
    def block(self) -> Block:
        """``quantization_config`` of config.json, empty where that is no object."""
        found = self.ckpt.config.get("quantization_config")
        return found if isinstance(found, dict) else {}

    @cached_property
    def known(self) -> Architecture:
        """What the class of ``model_type`` asks for: AutoModel goes by it, not by ``architectures``."""
        return elsewhere(architecture(self.ckpt, self.view, "type"))

    @cached_property
    def skipped(self) -> Test:
        """The test whether ``llm_int8_skip_modules`` leaves a module alone, in the dialect of the version."""
        regex = self.does("skip-list-is-regex-or-suffix")
        return tests(self.block.get("llm_int8_skip_modules"), self.known, regex=regex)

    @cached_property
    def dtype(self) -> str:
        """Scheme id of the dtype in config.json (``dtype`` wins over ``torch_dtype``), "" when it names none."""
        for key in ("dtype", "torch_dtype"):
            value = self.ckpt.config.get(key)
            if isinstance(value, str):
                return _DTYPES.get(value.removeprefix("torch."), "")
        return ""

    @cached_property
    def experts_are_fused(self) -> bool:
        """Experts are one parameter of three dimensions, filled by ``core_model_loading.py`` (5.x)."""
        return self.does("experts-are-fused")

    @cached_property
    def initialises_parts(self) -> bool:
        """``core_model_loading.py`` of 5.x: a part that no file fills is initialised like any weight."""
        return self.does("parts-are-initialised")

    @cached_property
    def formats_were_observed(self) -> bool:
        """Formats beside bitsandbytes, and experts in compressed-tensors, were only run in 5.x."""
        return self.does("formats-were-observed")
