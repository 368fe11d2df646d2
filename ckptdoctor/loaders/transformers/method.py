"""What transformers does under any quantiser: missing tensors are initialised and reported, never refused.

``_finalize_model_loading`` and ``convert_and_load_state_dict_in_model`` (5.x: core_model_loading.py), or
``_load_pretrained_model`` of modeling_utils.py (4.x).
"""

from __future__ import annotations

from typing import ClassVar

from ...expected.comparison import Mismatch, Missing
from ...model import Outcome
from ..shared.method import Method, Read
from .run import TransformersRun

_PAIRS = {"gate_proj": "up_proj", "up_proj": "gate_proj", "w1": "w3", "w3": "w1"}
"""Matrices of an expert that core_model_loading.py concatenates (``Concatenate`` in conversion_mapping.py of 5.x)."""


class TransformersMethod(Method):
    """transformers under one quantiser; found by its name in `methods`."""

    modelled: ClassVar[bool] = True

    def __init__(self, run: TransformersRun, method: str) -> None:
        self.run = run
        self.method = method

    def read(self) -> Read:
        """Abstain; the quantisers that are modelled do not."""
        return Read({}, [], self.run.plan.unknown)

    def missing(self, row: Missing) -> Outcome:
        """Initialised anew, but for some of a layer's experts, which do not stack (5.x), and norms of shards (4.x)."""
        sharded = len(self.run.plan.files) > 1
        if row.kind == "norm" and sharded and self.run.does("sharded-norms-stay-meta"):
            return "fails-late"
        if row.kind == "expert" and self.run.experts_are_fused:
            return "fails" if self._some_experts(row) or self._half_of_a_pair(row) else "corrupt"
        return "corrupt"

    def unexpected(self, template: str) -> Outcome:
        """Only reported (``unexpected_keys``)."""
        return "ok"

    def mismatched(self, row: Mismatch) -> Outcome:
        """``ignore_mismatched_sizes`` is off."""
        return "fails"

    @property
    def doubled(self) -> Outcome:
        """5.x renames them back (``base_model_prefix`` in conversion_mapping.py), 4.x finds none of them."""
        return "ok" if self.run.does("adds-base-prefix") else self.unnamed

    @property
    def bare(self) -> Outcome:
        """As twice; but 4.x finds all where all lack it, and then stops at the head."""
        return self.doubled if self.run.does("adds-base-prefix") or self._partly_bare() else "fails"

    unnamed: ClassVar[Outcome] = "corrupt"
    """What it costs that a tensor is not found by its name."""

    def _partly_bare(self) -> bool:
        """Whether some names have the base model's prefix and others lack it: then 4.x misses the latter."""
        expected = self.run.known.expected
        start = f"{expected.prefix if expected else ''}."
        return any(signature.template.startswith(start) for signature in self.run.view.signatures)

    def _half_of_a_pair(self, row: Missing) -> bool:
        """Whether these are one of the two matrices that are joined into ``gate_up_proj``, and the other is stored."""
        found = self.run.known.comparison
        gone = {other.template for other in found.missing} if found else set()
        module, _, last = row.template.removesuffix(".weight").rpartition(".")
        partner = _PAIRS.get(last)
        return partner is not None and f"{module}.{partner}.weight" not in gone

    def _some_experts(self, row: Missing) -> bool:
        """Whether a layer lacks some of its experts but not all of them."""
        expected = self.run.known.expected
        entries = expected.entries.get(row.template, ()) if expected else ()
        per_layer = max((len(entry.indices[-1]) for entry in entries if len(entry.indices) > 1), default=0)
        lost: dict[str, int] = {}
        for index in row.indices:
            lost[index[0]] = lost.get(index[0], 0) + 1
        return any(count < per_layer for count in lost.values())


class Unmodelled(TransformersMethod):
    """A quantiser that is known by name only."""

    modelled = False


class Quantised(TransformersMethod):
    """A quantiser with codes of its own."""

    def missing(self, row: Missing) -> Outcome:
        """A whole quantised module that is gone is the quantiser's own affair."""
        return self.module_missing(row) if row.kind == "linear" else super().missing(row)

    def module_missing(self, row: Missing) -> Outcome:
        """Say what it costs that whole modules of one template are gone: they are initialised."""
        return "corrupt"
