"""bitsandbytes in vLLM: bitsandbytes_loader.py and quantization/bitsandbytes.py of model_loader and layers.

Both are in the core up to 0.27.1 and in vllm-bnb-plugin since.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...checkpoint.nouns import Leaf, Signature
from ...expected.comparison import Mismatch, Missing
from ...model import Location, Outcome
from ..base import Event
from ..shared.method import Read
from ..shared.modules import ROUTERS, family, kind
from ..shared.precision import SKIPPED, UNDECLARED, disagreements, loaded_as
from . import companions
from .method import VllmMethod
from .tensors import siblings_present

_NOTHING = "AssertionError: vLLM currently does not support BNB quantization for"
_FAMILIES = ("bnb-4bit", "bnb-8bit")
_COMPANIONS_4BIT = ("absmax", "quant_map", "bitsandbytes")
_COMPANIONS_8BIT = (".scb", ".weight_format")


class BitsAndBytes(VllmMethod):
    """Weights that config.json says are packed already, or plain ones that are packed while they load."""

    one_device = True  # _verify_model_compatibility refuses pre-quantised weights on several

    @cached_property
    def _eight(self) -> bool:
        return self.run.block.get("load_in_8bit") is True

    @cached_property
    def _wanted(self) -> str:
        return "bnb-8bit" if self.run.block.get("load_in_8bit") and not self.run.inflight else "bnb-4bit"

    def read(self) -> Read:
        """Go through ``BitsAndBytesModelLoader.load_weights``: classes it refuses, then weights, then the rest."""
        run = self.run
        loaded = loaded_as(run.view, self._scheme, lambda signature: True)
        events = [*disagreements(run, loaded, asked="bnb-4bit" if run.inflight else ""), *self._stray()]
        if not run.inflight:
            events += [*self._refused_class(), *self._nothing_to_quantise()]
        return Read(loaded, events)

    def _scheme(self, signature: Signature, module: str) -> str:
        """Return the scheme that a module is loaded as (``BitsAndBytesConfig.get_quant_method``)."""
        stored, what = family(signature.stored.scheme), kind(signature, self.run.known)
        if what == "expert" and self._refuses_experts(stored):
            return "bnb-experts"
        linear = what == "linear" or module.rpartition(".")[2] in ROUTERS
        if not linear or self.run.skipped(module):
            return SKIPPED if stored in _FAMILIES and what != "expert" else signature.stored.scheme
        if self.run.inflight and stored in _FAMILIES:
            return UNDECLARED  # the packed bytes are taken for weights that are still to be quantised
        if stored == self._wanted:
            return signature.stored.scheme
        return "bnb-int8" if self._wanted == "bnb-8bit" else "bnb-nf4"

    def _refuses_experts(self, stored: str) -> bool:
        """``_fuse_moe_quant_states``: 4-bit experts alone, and those only since 0.32."""
        if self.run.inflight:
            return False
        return stored == "dense" or self._wanted == "bnb-8bit" or not self.run.does("bnb-experts-load")

    def _refused_class(self) -> Iterator[Event]:
        """``_verify_model_compatibility`` asks the class for its ``packed_modules_mapping``."""
        names = self.run.architectures
        name = names[0] if names else None
        if any(row["architecture"] == name for row in self.run.rows("bnb_refused")):
            error = f"AttributeError: Model {name} does not support BitsAndBytes quantization yet."
            at = (Location("config.json", "/architectures/0"),)
            yield Event("bnb-class", "fails", {"architecture": str(name)}, at, error=error)

    def _nothing_to_quantise(self) -> Iterator[Event]:
        """``_get_bnb_target_modules`` insists on at least one layer that the skip list leaves."""
        known, skipped = self.run.known, self.run.skipped
        linear = [s for s in self.run.view.signatures if kind(s, known) in ("linear", "expert")]
        if known.expected and linear and all(skipped(module) for s in linear for module in s.modules):
            at = (Location("config.json", "/quantization_config/llm_int8_skip_modules"),)
            facts = {"key": "llm_int8_skip_modules"}
            yield Event("nothing-quantized", "fails", facts, at, error=_NOTHING)

    def _stray(self) -> Iterator[Event]:
        """Yield companions that are not taken for part of a packed weight, and scales of weights that are plain."""
        view = self.run.view
        for signature in view.signatures:
            if family(signature.stored.scheme) == ("bnb-4bit" if self._eight else "bnb-8bit"):
                continue  # read as what it is not: a disagreement
            for leaf in signature.leaves:
                if self._eight and leaf.name == "SCB" and companions.is_dense(signature):
                    at = view.locate(signature, "weight")
                    yield Event("dense-with-scales", "corrupt", {}, at, signature.template, signature.count)
                if not self._takes(f"{signature.template}.{leaf.name}"):
                    yield from self._refused(signature, leaf)

    def _refused(self, signature: Signature, leaf: Leaf) -> Iterator[Event]:
        part = leaf.name.startswith("weight.")
        if part or companions.is_companion(leaf, self.run.rulebook):
            error = "AttributeError: `weight` is not an nn.Module" if part else None
            yield companions.unexpected(self.run.view, signature, leaf, error)

    def _takes(self, name: str) -> bool:
        """Whether a tensor is taken for part of a packed weight, by its name alone.

        Companions of 4-bit weights by a word in the last part of their name (``_is_4bit_weight_name``), those of
        8-bit weights by their ending (``_is_8bit_weight_name``).
        """
        if self._eight:
            return name.lower().endswith(_COMPANIONS_8BIT)
        return any(word in name.rpartition(".")[2] for word in _COMPANIONS_4BIT)

    def missing(self, row: Missing) -> Outcome:
        """``load_weights`` of this loader raises at what it did not see; a part of a fused layer is seen with it."""
        if not siblings_present(row, self.run):
            return "fails"
        return "corrupt" if row.kind == "bias" or all(map(self.run.skipped, row.names)) else "fails"

    def unexpected(self, template: str) -> Outcome:
        """What is taken for a companion goes into the quantisation state (``_quantized_4bit_generator``)."""
        outcome = super().unexpected(template)
        return "ok" if outcome == "fails" and self._takes(template) else outcome

    def mismatched(self, row: Mismatch) -> Outcome:
        """What is quantised on load keeps its own shape."""
        module, _, leaf = row.template.rpartition(".")
        packed = leaf == "weight" and module.endswith("_proj") and ".experts." not in row.template
        if packed and len(row.got) == len(row.expected) and not self.run.skipped(row.name):
            return "fails-late"
        return super().mismatched(row)


METHOD = BitsAndBytes
