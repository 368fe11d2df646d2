"""Experts that transformers 5 dequantises one by one and then stacks (core_model_loading.py, ``MergeModulelist``)."""

from __future__ import annotations

from ...checkpoint.nouns import Leaf
from ...formats.layout import Layout, Shape
from ...model import Outcome
from ..shared.quantised.matching import Parts


class Stacked(Parts):
    """The matrices of experts; ``no_scale`` is what a missing scale costs."""

    def __init__(self, no_scale: Outcome) -> None:
        self._no_scale = no_scale

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """As many of each part as of any other must be there."""
        return self._no_scale if leaf == "weight_scale" else "ok" if leaf == "weight_shape" else "fails"

    def part_unplaced(self, part: str) -> Outcome:
        """Only reported."""
        return "ok"

    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """Not observed."""
        return "unknown"

    def plain_codes(self, dtype: str) -> Outcome:
        """Not observed."""
        return "unknown"
