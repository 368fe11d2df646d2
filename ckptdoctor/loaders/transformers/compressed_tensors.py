"""compressed-tensors in transformers: quantizers/quantizer_compressed_tensors.py, and the library's own
``apply_quantization_config`` and ``ModelCompressor``; read off 4.57.6, 5.23.0 and compressed-tensors 0.20.0.

Whatever no file fills is initialised anew, as far as its dtype can be; whatever has no place is only reported.
"""

from __future__ import annotations

from functools import cached_property
from itertools import islice

from ...checkpoint.nouns import Leaf, Signature
from ...expected.comparison import Missing
from ...formats.base import texts
from ...formats.compressed_tensors import Group, groups
from ...formats.layout import Layout, Shape
from ...model import Facts, Location, Outcome
from .. import facts
from ..base import Event, LoadedAs, Test
from ..shared import skips
from ..shared.method import Read
from ..shared.modules import kind
from ..shared.quantised.matching import Parts, compared, is_expert, quantised_experts
from .method import Quantised
from .stacked import Stacked

_INTEGER_FORMATS = frozenset({"int-quantized", "naive-quantized"})
_WHOLE_FORMATS = _INTEGER_FORMATS | {"float-quantized"}
_UNFILLED = "weight_shape"
_AT = (Location("config.json", "/quantization_config"),)
_ORDER = "the activation order depends on the version of compressed-tensors"
_ZEROS = (
    "compressed-tensors 0.14 to 0.17 read these zero points, older and newer ones refuse them; say which you have: "
    "--for transformers=={version},compressed-tensors==X.Y.Z"
)
_LOOKED_AT = 100
"""Names of one template that are asked for their format."""


class CompressedTensors(Quantised, Parts):
    """Groups of settings, each with the layers it is for."""

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        return groups(self.run.block)

    @cached_property
    def _ignore(self) -> tuple[str, ...]:
        return texts(self.run.block.get("ignore"))

    @cached_property
    def _ignored(self) -> Test:
        return skips.compressed_tensors(self._ignore)

    @cached_property
    def _named(self) -> list[tuple[Group, Test]]:
        """Groups by what is told most exactly: names before expressions (``match_targets``)."""
        exact = [(group, _targets(group, expressions=False)) for group in self._groups]
        return [*exact, *((group, _targets(group, expressions=True)) for group in self._groups)]

    def read(self) -> Read:
        """Compare linear layers with their groups, experts apart, then ask the library about zero points."""
        doubt = self._doubt_of_experts()
        if doubt:
            return Read({}, [], doubt)
        run = self.run
        loaded, events = compared(run.view, run.known, self.choose, self, run.dtype)
        if quantised_experts(run.view):
            experts, more = self._experts()
            loaded, events = {**loaded, **experts}, [*events, *more]
        zeros = self._zero_points()
        if zeros == "refused":
            events.append(_refused("symmetric", "false"))
        if zeros == "unknown":
            events = [event for event in events if event.facts.get("leaf") != "weight_zero_point"]
        ordered = any(group.actorder in ("group", "dynamic") for group in self._groups)
        unsure = _ZEROS.format(version=run.version) if zeros == "unknown" else ""
        return Read(loaded, events, _ORDER if ordered else unsure)

    def _doubt_of_experts(self) -> str:
        experts = quantised_experts(self.run.view)
        if experts and not self.run.formats_were_observed:
            return f"{self.method} experts in transformers 4 have not been observed"
        unnamed = any(kind(signature, self.run.known) != "expert" for signature in experts)
        return "the names that this architecture has for its experts are not known" if unnamed else ""

    def choose(self, signature: Signature | None, module: str) -> Layout | None:
        """Return the settings of the first group that means a module by name, by expression or by class."""
        if self._ignored(module) or "Linear" in self._ignore:
            return None
        group = next((group for group, means in self._named if means(module)), None)
        group = group or next((group for group in self._groups if "Linear" in group.targets), None)
        packed = self.run.block.get("quantization_status") == "compressed"
        return group.layout if group and packed else None

    def _experts(self) -> tuple[LoadedAs, list[Event]]:
        """Experts are dequantised while their matrices are stacked, whether a list names them or not.

        ``integrations/compressed_tensors.py`` of 5.23.0 knows packed and FP8 ones; others end in an empty stack.
        """
        view, layout = self.run.view, self._of_experts
        _, events = compared(
            view, self.run.known, self._of_expert, Stacked("corrupt"), self.run.dtype, is_expert
        )
        if layout is not None and layout.format in _INTEGER_FORMATS:
            events = [_refused("format", f"{layout.format} experts")]
        scheme = self.run.dtype or "bf16"
        loaded: LoadedAs = {n: {scheme: s.modules} for n, s in enumerate(view.signatures) if is_expert(s)}
        return loaded, events

    @cached_property
    def _of_experts(self) -> Layout | None:
        named = [group for group in self._groups if any("experts" in one for one in group.targets)]
        return next((group.layout for group in [*named, *self._groups]), None)

    def _of_expert(self, signature: Signature, module: str) -> Layout | None:
        return self._of_experts

    def _zero_points(self) -> str:
        """Return what the target's library does about packed zero points: ``read``, ``refused`` or ``unknown``.

        "" where there are none.
        """
        leaves = (signature.leaf("weight_zero_point") for signature in self.run.view.signatures)
        packed = any(leaf is not None and leaf.dtype in ("", "I32") for leaf in leaves)
        layouts = [group.layout for group in self._groups]
        if not packed or all(layout.symmetric or layout.format != "pack-quantized" for layout in layouts):
            return ""
        library = self.run.target.versions.get("compressed-tensors", "")
        known = facts.regime(self.run.data, library, "packed_zero_points") if library else ""
        return known or "unknown"

    def module_missing(self, row: Missing) -> Outcome:
        """5.x initialises parameters as the library made them; 4.x stops at those it cannot initialise."""
        layouts = [self.choose(None, name.rpartition(".")[0]) for name in islice(row.names, _LOOKED_AT)]
        formats = {layout.format for layout in layouts if layout is not None}
        if not self.run.initialises_parts:
            return "fails" if formats - _WHOLE_FORMATS else "corrupt"
        if row.template.startswith("lm_head"):
            return "corrupt"
        return "fails" if formats & _WHOLE_FORMATS else "unknown"

    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """Initialised, as far as its dtype can be."""
        whole = layout is not None and layout.format in _WHOLE_FORMATS
        if not self.run.initialises_parts:
            integers = layout is not None and layout.format in _INTEGER_FORMATS
            packed = layout is not None and not whole
            return "fails" if packed or (integers and leaf == "weight_scale") else "corrupt"
        if leaf == _UNFILLED:
            return "unknown"
        if leaf == "weight_zero_point":
            return "fails-late"
        return "fails" if whole and leaf == "weight" else "corrupt"

    def part_unplaced(self, part: str) -> Outcome:
        """Only reported."""
        return "ok"

    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """``ignore_mismatched_sizes`` is off; nobody looks at ``weight_shape``."""
        return "ok" if part.endswith(f".{_UNFILLED}") else "fails"

    def plain_codes(self, dtype: str) -> Outcome:
        """5.x casts FP8 and leaves integers, 4.x the other way round."""
        if self.run.does("casts-plain-fp8"):
            return "corrupt" if dtype.startswith("F8") else "fails-late"
        return "fails-late" if dtype.startswith("F8") else "fails"


def _targets(group: Group, *, expressions: bool) -> Test:
    return skips.compressed_tensors([text for text in group.targets if text.startswith("re:") == expressions])


def _refused(key: str, value: str) -> Event:
    details: Facts = {"loader": "transformers", "method": "compressed-tensors", "key": key, "value": value}
    return Event("method-refused", "fails", details, _AT)


METHOD = CompressedTensors
