"""Quantisers that optimum and gptqmodel build their layers for (transformers 5).

Observed on a CPU with gptqmodel 7.7.0. Whatever no file fills keeps what was in memory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from ...checkpoint.nouns import Leaf, Signature
from ...formats.layout import Layout, Shape
from ...model import Outcome
from ..base import Event
from ..shared.method import Read
from ..shared.quantised.matching import Parts, compared, quantised_experts
from .method import Quantised


class Packed(Quantised, Parts):
    """Linear layers that are built packed; its file says which, and with which layout."""

    @abstractmethod
    def choose(self, signature: Signature, module: str) -> Layout | None:
        """Return the layout that a module is built with, None for a plain weight."""

    @abstractmethod
    def doubt(self) -> str:
        """Say why nothing can be said of this block, "" where something can."""

    @abstractmethod
    def refused(self) -> Iterator[Event]:
        """Yield what the quantiser stops at."""

    def read(self) -> Read:
        """Compare every linear layer with the layout it is built with."""
        doubt = self._doubt_of_version() or self.doubt()
        if doubt:
            return Read({}, [], doubt)
        loaded, events = compared(self.run.view, self.run.known, self.choose, self, self.run.dtype)
        return Read(loaded, [*events, *self.refused()])

    def _doubt_of_version(self) -> str:
        if not self.run.formats_were_observed:
            return f"{self.method} in transformers 4 has not been observed"
        if quantised_experts(self.run.view):
            return f"{self.method} experts have not been observed in transformers"
        if "text_config" in self.run.ckpt.config:
            return f"{self.method} inside a model of several parts has not been observed in transformers"
        return ""

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """What was in memory is taken for the part."""
        return "corrupt"

    def part_unplaced(self, part: str) -> Outcome:
        """Only reported."""
        return "ok"

    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """``ignore_mismatched_sizes`` is off."""
        return "fails"

    def plain_codes(self, dtype: str) -> Outcome:
        """Copied into a plain parameter, cast and all."""
        return "corrupt"
