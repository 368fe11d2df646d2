"""transformers without a quantiser: a weight is copied into the parameter of its name, cast to the model's dtype."""

from __future__ import annotations

from ...checkpoint.nouns import Signature
from ..shared.method import Read
from ..shared.modules import family, is_plain_weight
from ..shared.precision import UNDECLARED, disagreements, loaded_as
from .method import TransformersMethod
from .quantizer import passed_over


class Dense(TransformersMethod):
    """Nothing is declared, or what is declared is passed over."""

    def read(self) -> Read:
        """Return what is taken for a plain weight although it is packed."""
        loaded = loaded_as(self.run.view, self._scheme, lambda signature: False)
        return Read(loaded, list(disagreements(self.run, loaded, skipped=passed_over(self.run))))

    def _scheme(self, signature: Signature, module: str) -> str:
        stored = family(signature.stored.scheme)
        codes = stored in ("integers", "float8")
        if stored == "dense" or (codes and is_plain_weight(signature, self.run.known)):
            return self.run.dtype or "bf16"
        packed = signature.stored.quantized or stored in ("bnb-4bit", "bnb-8bit")
        return UNDECLARED if packed else signature.stored.scheme
