"""bitsandbytes in transformers: quantizers/quantizer_bnb_{4bit,8bit}.py and integrations/bitsandbytes.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ...checkpoint.nouns import Signature
from ...expected.comparison import Mismatch, Missing
from ...model import Facts, Location, Outcome
from ..base import Event
from ..shared.method import Read
from ..shared.modules import ROUTERS, family, is_convertible, kind
from ..shared.precision import SKIPPED, disagreements, loaded_as
from .flow import mixed_dtypes
from .method import TransformersMethod
from .quantizer import BNB_4BIT, BNB_8BIT, passed_over

NEVER = "never-quantised"
"""Of experts and routers, which bitsandbytes does not convert where they are no linear layers."""
_META = "NotImplementedError: Cannot copy out of meta tensor; no data!"
_AT = (Location("config.json", "/quantization_config"),)


class BitsAndBytes(TransformersMethod):
    """Linear layers become ``Linear4bit`` or ``Linear8bitLt``, but for those of the skip list."""

    unnamed: ClassVar[Outcome] = "fails"

    def read(self) -> Read:
        """Load each module, then compute with what is loaded."""
        run = self.run
        loaded = loaded_as(run.view, self._scheme, self._converts)
        events = list(disagreements(run, loaded, skipped=passed_over(run)))
        if run.does("bnb-keeps-dtype-of-file"):
            events += mixed_dtypes(run.view, run.known, self._packs)
        return Read(loaded, [*events, *self._declared_otherwise()])

    def _scheme(self, signature: Signature, module: str) -> str:
        """Return the scheme that a module is loaded as (``replace_with_bnb_linear``, ``param_needs_quantization``)."""
        stored = family(signature.stored.scheme)
        if self._converts(signature) and not self.run.skipped(module):
            wanted = BNB_4BIT if self.method == BNB_4BIT else "bnb-int8"
            return signature.stored.scheme if stored == self.method else wanted
        if stored == "dense":
            return self.run.dtype or "bf16"
        if stored not in (BNB_4BIT, BNB_8BIT):
            return signature.stored.scheme
        never = self.run.experts_are_fused and self._of_experts(signature) and not self.run.skipped(module)
        return NEVER if never else SKIPPED

    def _converts(self, signature: Signature) -> bool:
        """Whether a module becomes one of bitsandbytes; before experts were fused, quantised ones and routers did."""
        if is_convertible(signature, self.run.known):
            return True
        split = not self.run.experts_are_fused and family(signature.stored.scheme) == self.method
        return split and self._of_experts(signature)

    def _packs(self, signature: Signature, module: str) -> bool:
        return is_convertible(signature, self.run.known) and not self.run.skipped(module)

    def _of_experts(self, signature: Signature) -> bool:
        """Whether a module is an expert or chooses among them: linear layers in 4.x, parameters in 5.x."""
        router = signature.template.rpartition(".")[2] in ROUTERS
        return kind(signature, self.run.known) == "expert" or router

    def _declared_otherwise(self) -> Iterator[Event]:
        """Yield where the block names another 4-bit type than the tensors have, or nesting they lack.

        ``Bnb4BitHfQuantizer.create_quantized_param`` of 4.x looks for companions by what the config says.
        """
        if self.method != BNB_4BIT or not self.run.does("bnb-keys-from-config"):
            return
        quant_type = self.run.block.get("bnb_4bit_quant_type", "fp4")
        packed = [s for s in self.run.view.signatures if family(s.stored.scheme) == BNB_4BIT]
        stored = {s.stored.scheme.removeprefix("bnb-") for s in packed}
        nested = any(s.leaf("weight.nested_absmax") for s in packed)
        details: Facts = {}
        if stored and str(quant_type) not in stored:
            found = ", ".join(sorted(stored))
            details = {"key": "bnb_4bit_quant_type", "declared": str(quant_type)[:20], "stored": found}
        elif stored and self.run.block.get("bnb_4bit_use_double_quant") is True and not nested:
            details = {"key": "bnb_4bit_use_double_quant", "declared": "true", "stored": "not nested"}
        if details:
            yield Event("bnb-declared-otherwise", "fails", details, _AT, error=_META)

    def missing(self, row: Missing) -> Outcome:
        """A packed weight cannot be initialised: integers have no distribution."""
        modules = (name.removesuffix(".weight") for name in row.names)
        if row.kind in ("linear", "head") and not all(map(self.run.skipped, modules)):
            return "fails"
        return super().missing(row)

    def unexpected(self, template: str) -> Outcome:
        """4.x looks for the module that a companion belongs to by its name."""
        return "fails" if ".weight." in template and not self.run.does("adds-base-prefix") else "ok"

    def surplus(self, template: str) -> Outcome:
        """As for any companion without its module."""
        return self.unexpected(f"{template}.absmax") if not self.run.does("adds-base-prefix") else "corrupt"

    def mismatched(self, row: Mismatch) -> Outcome:
        """Nobody looks at the shape of a weight that is quantised on load."""
        module = row.name.removesuffix(".weight")
        return "fails-late" if module.endswith("_proj") and not self.run.skipped(module) else "fails"


METHOD = BitsAndBytes
