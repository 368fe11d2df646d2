"""What vLLM does under any quantisation method, its weight loaders' way with names and shapes above all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar

from ...expected.comparison import Mismatch, Missing
from ...formats.layout import Layout
from ...model import Location, Outcome
from ..base import Event
from ..shared.method import Method, Read
from . import tensors
from .run import VllmRun

_AT = (Location("config.json", "/quantization_config"),)


class VllmMethod(Method):
    """vLLM under one method; found by its name in `methods`."""

    modelled: ClassVar[bool] = True
    one_device: ClassVar[bool] = False
    """Its loader refuses weights on several devices."""
    halves_groups: ClassVar[bool] = False
    """Groups of experts are halved until they fit a device's share (``moe_wna16.py``)."""

    def __init__(self, run: VllmRun, method: str) -> None:
        self.run = run
        self.method = method
        """As config.json or the caller names it."""

    def refusals(self) -> list[Event]:
        """Return what the method's ``from_config`` refuses about the block."""
        return []

    def unread(self) -> str:
        """Say why the method is not known at this version, "" where it is."""
        return ""

    def split_layouts(self) -> Sequence[Layout]:
        """Return the layouts whose groups and tiles must come out whole on every device."""
        return ()

    @cached_property
    def refines_tiles(self) -> bool:
        """Whether tiles of experts are refined until they fit a device's share."""
        return False

    def read(self) -> Read:
        """Abstain; the methods that are modelled do not."""
        return Read({}, [], self.run.plan.unknown)

    def missing(self, row: Missing) -> Outcome:
        """Memory stays as it was: quantised models have no ``default_loader.track_weights_loading``."""
        return "corrupt"

    def unexpected(self, template: str) -> Outcome:
        """``params_dict[name]`` of a model's ``load_weights``, or AutoWeightsLoader (``models/utils.py``), raises.

        Not at a bias, a rotary table, or what a model passes over.
        """
        if template.endswith((".bias", "rotary_emb.inv_freq")) or self.run.drops_name(template):
            return "ok"
        return self.cache_scale() if template.endswith(tensors.CACHE_SCALES) else "fails"

    @property
    def bare(self) -> Outcome:
        """``hf_to_vllm_mapper`` of ``models/transformers/base.py``, of OPT and of GPT-2 puts the prefix before them."""
        mapped = self.run.through_transformers or any(
            row["architecture"] in self.run.architectures for row in self.run.rows("bare_names_mapped")
        )
        return "ok" if mapped else "fails"

    @property
    def doubled(self) -> Outcome:
        """The mapper of ``models/transformers/base.py`` takes one of the two away."""
        return "ok" if self.run.through_transformers else "fails"

    def cache_scale(self) -> Outcome:
        """Say what it costs that a scale of the cache is stored: the method's ``get_cache_scale_mapper`` takes it."""
        return "ok"

    def mismatched(self, row: Mismatch) -> Outcome:
        """``layers/linear.py`` and ``parameter.py``: a rank takes its share, see `tensors.narrowed`."""
        if ".experts." in row.template:
            return "fails" if self.run.does("expert-shapes-are-checked") else "unknown"
        return tensors.narrowed(row, self.run.known)


class Unmodelled(VllmMethod):
    """A method that is known by name only."""

    modelled = False


class Quantised(VllmMethod):
    """A method that config.json declares, with codes of its own."""

    name: ClassVar[str]
    """How messages call it."""

    def refused(self) -> Iterable[tuple[str, str]]:
        """Yield the keys of the block that ``from_config`` refuses, with their values."""
        return ()

    def refusals(self) -> list[Event]:
        """Return what ``from_config`` refuses about the block."""
        details = {"loader": "vLLM", "method": self.name}
        return [
            Event("method-refused", "fails", {**details, "key": key, "value": value}, _AT)
            for key, value in self.refused()
        ]

    def unread(self) -> str:
        """Say that this was not read, nor run, before 0.20."""
        known = self.run.does("parts-were-read")
        return "" if known else f"{self.method} in vLLM before 0.20 is not modelled"

    def unexpected(self, template: str) -> Outcome:
        """One expert too many is passed over, a layer too many is not."""
        return "unknown" if ".experts." in template else super().unexpected(template)
