"""compressed-tensors in vLLM: quantization/compressed_tensors/{compressed_tensors,utils}.py, utils/config_utils.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from ...checkpoint.nouns import Signature
from ...formats.base import texts
from ...formats.compressed_tensors import Group, groups
from ...formats.layout import Layout
from .. import facts
from ..base import Test
from ..shared import skips
from . import names
from .packed import Packed

_SPLIT = frozenset({"pack-quantized", "float-quantized"})
"""NVFP4 and MXFP4 kernels pad; their groups are far smaller than any slice."""


class CompressedTensors(Packed):
    """Groups of settings, each with the layers it is for.

    ``find_matched_target`` asks for the layer that a module becomes, ``should_ignore_layer`` part by part. A target
    that is there twice has the settings of its last group. Experts have those of the first of them.
    """

    name = "compressed-tensors"

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        return groups(self.run.block)

    @cached_property
    def _targets(self) -> Mapping[str, Layout]:
        return {name: group.layout for group in self._groups for name in group.targets}

    @cached_property
    def _tests(self) -> Sequence[tuple[str, Test]]:
        return [(one, skips.compressed_tensors((one,))) for one in self._targets]

    @cached_property
    def _ignore(self) -> frozenset[str]:
        return frozenset(texts(self.run.block.get("ignore")))

    @cached_property
    def _ignored(self) -> Test:
        return skips.compressed_tensors(self._ignore)

    @cached_property
    def _fused(self) -> Mapping[str, tuple[str, ...]]:
        return dict(facts.groups(self.run.data))

    @cached_property
    def _layers(self) -> dict[str, Layout | None]:
        """Layouts by the names of layers, as far as they were asked for."""
        return {}

    @cached_property
    def _expressions(self) -> bool:
        """``config_utils.find_matching_patterns``: an expression of the list is tried on the fused name too."""
        return self.run.does("ignored-by-fused-expression")

    def split_layouts(self) -> Sequence[Layout]:
        """Groups must come out whole where kernels do not pad."""
        return [group.layout for group in self._groups if group.layout.format in _SPLIT]

    def refused(self) -> Iterator[tuple[str, str]]:
        """Yield groups that there is no scheme for (``CompressedTensorsConfig._get_scheme_from_parts``)."""
        ordered = self.run.does("actorder-refused")
        for group in self._groups:
            if group.actorder in ("group", "dynamic") and ordered:
                yield "actorder", group.actorder
            if group.layout.format == "int-quantized" and not group.has_inputs:
                yield "format", "int-quantized without input_activations"

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """``get_quant_method``: nothing for an ignored layer, else the settings of the target it matches."""
        if experts := names.experts_of(module):
            module = name = f"{experts}.0.{module.rpartition('.')[2]}"
        else:
            name = names.own(module, self.run.data)
        ignored = self._ignored(name) if self._expressions else name in self._ignore
        if ignored or self._ignored(module):
            return None
        if name not in self._layers:
            self._layers[name] = self._layer(name)
        return self._layers[name]

    def _layer(self, name: str) -> Layout | None:
        """``find_matched_target``: by name, by the names of all parts, by class."""
        parent, _, last = name.rpartition(".")
        found = self._first(name)
        if found is None and last in self._fused:
            each = [self._first(f"{parent}.{part}" if parent else part) for part in self._fused[last]]
            found = each[0] if all(each) else None
        if found is None and last != "lm_head":
            found = "Linear" if "Linear" in self._targets else None
        return None if found is None else self._targets[found]

    def _first(self, name: str) -> str | None:
        return next((target for target, matches in self._tests if matches(name)), None)


METHOD = CompressedTensors
