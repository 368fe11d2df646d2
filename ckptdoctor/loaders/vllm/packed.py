"""Methods in vLLM that build each layer for a layout of its own and compare names and shapes part by part.

Read off ``layers/quantization/{compressed_tensors,fp8.py,auto_gptq.py,auto_awq.py,modelopt.py}`` and
``utils/quant_utils.py`` of 0.20.0, 0.27.1, 0.30.0 and 0.32.0. A parameter that no file fills keeps what was in memory:
quantised models have no completeness check. A name without a parameter raises.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

from ...checkpoint.nouns import Leaf, Signature
from ...formats.layout import Layout, Shape
from ...model import Outcome
from ...skiplists.matching import FUSED
from ..shared.method import Read
from ..shared.modules import ROUTERS, kind
from ..shared.quantised.matching import Parts, compared, is_expert, is_linear, quantised_experts
from . import fused
from .method import Quantised

_SOURCE_DTYPES = frozenset({"F16", "BF16", "F32"})
_LINEAR = frozenset(FUSED)
"""Alone: models with other names may run in vLLM as they are in transformers, under names of their own."""


class Packed(Quantised, Parts):
    """One such method; its file says which layout a module is built with."""

    input_first: ClassVar[bool] = False
    """Whether its tensors have the input dimension first."""

    @abstractmethod
    def choose(self, signature: Signature, module: str) -> Layout | None:
        """Return the layout that a module is built with (``get_quant_method``), None for a plain weight."""

    def doubt(self) -> str:
        """Say why the layouts cannot be known, "" where they can."""
        return ""

    def doubt_of_experts(self) -> str:
        """Say why what becomes of quantised experts cannot be known, "" where it can."""
        return ""

    def read(self) -> Read:
        """Compare every layer with the layout it is built with, then the parts of fused layers with each other."""
        doubt = self.doubt() or self._doubt_of_names()
        if doubt:
            return Read({}, [], doubt)
        run = self.run
        loaded, events = compared(run.view, run.known, self.choose, self, "", self._asked)
        events += fused.mixed(run, self.choose)
        events += fused.uneven(run, self.choose, self.name)
        return Read(loaded, events)

    def _doubt_of_names(self) -> str:
        experts = quantised_experts(self.run.view)
        if any(kind(signature, self.run.known) != "expert" for signature in experts):
            return "the names that this architecture has for its experts are not known"
        return self.doubt_of_experts() if experts else ""

    def _asked(self, signature: Signature) -> bool:
        """Whether the method is asked about a module: linear layers, experts, and routers of some models."""
        router = signature.template.rpartition(".")[2] in ROUTERS
        linear = is_linear(signature, self.run.known, _LINEAR) or is_expert(signature)
        return linear or (router and self._quantises_routers)

    @cached_property
    def _quantises_routers(self) -> bool:
        """Whether the model hands its quantisation on to its routers, which then must be in the skip list."""
        return any(
            row["architecture"] in self.run.architectures for row in self.run.rows("routers_quantised")
        )

    @cached_property
    def _drops_order(self) -> bool:
        """From there on g_idx is dropped by its name (``QuantizationConfig.get_checkpoint_weight_mapper``)."""
        return self.run.does("g-idx-dropped")

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """Nobody looks at ``weight_shape``; any other part keeps what was in memory."""
        return "ok" if leaf == "weight_shape" or (leaf == "g_idx" and self._drops_order) else "corrupt"

    def part_unplaced(self, part: str) -> Outcome:
        """A name without a parameter raises, unless the model or the method drops it."""
        dropped = self.run.drops_name(part) or (self._drops_order and part.endswith(".g_idx"))
        return "ok" if dropped else "fails"

    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """A rank takes its share by ``narrow`` (``parameter.py``) and copies it, which raises unless it fits."""
        if part.endswith(".weight_shape") or (self._drops_order and part.endswith(".g_idx")):
            return "ok"
        if ".experts." in part:
            return _short(part, found.shape, wanted)
        return "corrupt" if layout and self._cut(part, layout, found.shape, wanted) else "fails"

    def plain_codes(self, dtype: str) -> Outcome:
        """``default_weight_loader`` copies codes into a plain parameter, cast and all."""
        return "corrupt"

    def _cut(self, part: str, layout: Layout, found: Shape, wanted: Shape) -> bool:
        """Whether a rank takes the first part of a tensor that is too long where it is split over devices.

        ``RowvLLMParameter.load_row_parallel_weight`` and its like of ``parameter.py`` take their share by ``narrow``.
        """
        if len(found) != 2 or len(wanted) != 2:
            return False
        module, _, leaf = part.rpartition(".")
        last = module.rpartition(".")[2]
        whole_rows = "scale" in leaf and not (layout.group or layout.block)
        if last in _BY_INPUT and not whole_rows:
            dim = 0 if self.input_first else 1
        elif last in _BY_OUTPUT:
            dim = 1 if self.input_first else 0
        else:
            return False
        return found[dim] > wanted[dim] and found[1 - dim] == wanted[1 - dim]


_BY_INPUT = frozenset({"o_proj", "down_proj"})
_BY_OUTPUT = frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"})


def _short(part: str, found: Shape, wanted: Shape) -> Outcome:
    """An expert's tensor with too few rows fills the first of them (``_narrow_expert_data_for_padding``)."""
    if len(found) != len(wanted) or any(map(int.__gt__, found, wanted)):
        return "fails"
    rows = found[0] < wanted[0] and found[1:] == wanted[1:]
    ends = (".gate_proj.weight_scale", ".up_proj.weight_scale")
    return "corrupt" if rows and part.endswith(ends) else "unknown"


def has_codes(signature: Signature) -> bool:
    """Whether anything is stored that is no plain weight (``maybe_update_config`` goes by the dtypes in the files)."""
    return any(leaf.dtype and leaf.dtype not in _SOURCE_DTYPES for leaf in signature.leaves)


def is_head(module: str) -> bool:
    """Whether this is the output embedding."""
    return module.rpartition(".")[2] == "lm_head"
