"""FP8 in transformers: quantizers/quantizer_finegrained_fp8.py and integrations/finegrained_fp8.py (``Fp8Dequantize``).

Dequantised on a CPU: the tile follows from the shapes, so the block's numbers are never looked at. A GPU takes them at
their word. Where the two differ, nothing is said.
"""

from __future__ import annotations

from functools import cached_property

from ...checkpoint.nouns import Leaf, Signature
from ...formats import fp8
from ...formats.base import texts
from ...formats.layout import Layout, Shape
from ...model import Outcome
from ..base import Event, LoadedAs, Test
from ..shared import skips
from ..shared.method import Read
from ..shared.modules import kind
from ..shared.quantised.matching import Parts, compared, is_expert, is_linear, quantised_experts
from .method import Quantised
from .stacked import Stacked

_TILE = "the declared tile is another than the stored one: a CPU takes it, a GPU does not"
_LISTED = "a module in the skip list is stored in FP8: a CPU takes it, a GPU does not"
_UNLISTED = "a 16-bit module that no list names: a CPU takes it, a GPU does not"


class Fp8(Quantised, Parts):
    """FP8, with a scale for each tensor or for each tile."""

    @cached_property
    def _layout(self) -> Layout:
        return fp8.layout(self.run.block)

    @cached_property
    def _skipped(self) -> Test:
        block = self.run.block
        listed = texts(block.get("modules_to_not_convert"))
        return skips.transformers5(listed or texts(block.get("ignored_layers")))

    def read(self) -> Read:
        """Compare linear layers and experts with the declared layout, as far as a CPU and a GPU agree."""
        doubt = self._doubt_of_version()
        if doubt:
            return Read({}, [], doubt)
        run = self.run
        loaded, events = compared(run.view, run.known, self.choose, self, run.dtype)
        experts, more = self._experts()
        events += more
        loaded |= experts | self._cast()
        whole = self._layout.block is None
        if self._other_tile(events) or (
            whole and any(event.code in ("part-missing", "part-unplaced") for event in events)
        ):
            return Read(loaded, [], _TILE)
        return Read(loaded, events, self._doubt_of_modules())

    def _experts(self) -> tuple[LoadedAs, list[Event]]:
        """Each matrix of an expert is dequantised, then all are stacked: as many scales as weights."""
        view, known = self.run.view, self.run.known
        loaded, events = compared(view, known, self._of_expert, Stacked("fails"), "", is_expert)
        experts = [number for number, signature in enumerate(view.signatures) if is_expert(signature)]
        missing = [event for event in events if event.code == "part-missing"]
        return {number: loaded[number] for number in experts if number in loaded}, missing

    def _of_expert(self, signature: Signature, module: str) -> Layout | None:
        return self._layout

    @cached_property
    def _casts_lone_codes(self) -> bool:
        return self.run.does("fp8-without-scale-is-cast")

    def _cast(self) -> LoadedAs:
        """Return the signatures whose codes have no scale of the declared name, held in the dtype they are cast to."""
        if not self._casts_lone_codes or self._layout.block is None or not self.run.dtype:
            return {}
        return {
            number: {self.run.dtype: signature.modules}
            for number, signature in enumerate(self.run.view.signatures)
            if _has_codes(signature)
            and not is_expert(signature)
            and signature.leaf("weight_scale_inv") is None
        }

    def _doubt_of_version(self) -> str:
        if not self.run.formats_were_observed:
            return f"{self.method} in transformers 4 has not been observed"
        experts = quantised_experts(self.run.view)
        unnamed = any(kind(signature, self.run.known) != "expert" for signature in experts)
        return "the names that this architecture has for its experts are not known" if unnamed else ""

    def choose(self, signature: Signature, module: str) -> Layout | None:
        """What is stored as FP8, or has a scale, is dequantised."""
        return self._layout if _has_codes(signature) or _has_scales(signature) else None

    def _doubt_of_modules(self) -> str:
        """Say where the list and what is stored disagree, which only a GPU minds; "" where they do not."""
        for signature in self.run.view.signatures:
            if not signature.modules or not is_linear(signature, self.run.known):
                continue
            codes = _has_codes(signature)
            if codes and any(map(self._skipped, signature.modules)):
                return _LISTED
            plain = not codes and not _has_scales(signature)
            if plain and not all(
                m.rpartition(".")[2] == "lm_head" or self._skipped(m) for m in signature.modules
            ):
                return _UNLISTED
        return ""

    def _other_tile(self, events: list[Event]) -> bool:
        """Whether every scale in the files has another shape than declared: the numbers are wrong, not one tensor."""
        scales = [e for e in events if e.code == "part-shape" and "scale" in str(e.facts["leaf"])]
        wrong = sum(event.count for event in scales)
        signatures = self.run.view.signatures
        scaled = sum(signature.count for signature in signatures if signature.leaf("weight_scale_inv"))
        return wrong == scaled and scaled > 1

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """A lone weight stays in FP8, which no product takes; later ``Fp8Dequantize`` casts its codes as they are."""
        lone = leaf.startswith("weight_scale") and not self._casts_lone_codes
        return "fails-late" if lone else "corrupt"

    def part_unplaced(self, part: str) -> Outcome:
        """Only reported."""
        return "ok"

    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """The tile is what the two shapes lead to, where they come out whole."""
        if part.endswith(".weight") or layout is None or layout.block is None:
            return "fails"
        if len(found.shape) != 2 or len(wanted) != 2:
            return "fails"
        rows, columns = wanted[0] * layout.block[0], wanted[1] * layout.block[1]
        whole = all(found.shape) and rows % found.shape[0] == 0 and columns % found.shape[1] == 0
        return "corrupt" if whole else "fails"

    def plain_codes(self, dtype: str) -> Outcome:
        """Copied into a plain parameter, cast and all."""
        return "corrupt"


def _has_codes(signature: Signature) -> bool:
    return any(leaf.dtype.startswith("F8") for leaf in signature.leaves)


def _has_scales(signature: Signature) -> bool:
    return any("scale" in leaf.name for leaf in signature.leaves)


METHOD = Fp8
