"""What transformers keeps: parameters as they are stored, floats in the dtype of config.json.

On a CPU finegrained FP8 and MXFP4 are dequantised (quantizer_finegrained_fp8.py, quantizer_mxfp4.py).
"""

from __future__ import annotations

from ..checkpoint.nouns import Signature
from .keeping import BNB4, WIDTH, Keeper, bnb_numbers, is_dense, nameless, plain, stored
from .nouns import Kept

_UNPACKED_ON_CPU = {"fp8": ("fp8", "fp8-block"), "mxfp4": ("mxfp4",)}
"""Method → schemes that have no kernel there."""
_WIDE = frozenset({"f32", "f64"})


class InTransformers(Keeper):
    """transformers, and loaders that build its models."""

    on_cpu = False

    def kept(self, signature: Signature, scheme: str) -> list[Kept] | None:
        """Return what one module held as ``scheme`` keeps."""
        if scheme in _WIDE and not self.reading.keeps_wide_floats:
            return None  # the loader casts these to a dtype of its own choice
        if nameless(signature):
            return None
        was = signature.stored
        if is_dense(scheme):
            if was.quantized:
                return self.dequantised(signature, WIDTH[scheme])
            return [plain(leaf, WIDTH[scheme]) for leaf in signature.leaves]
        if self.on_cpu and scheme in _UNPACKED_ON_CPU.get(self.reading.plan.method, ()):
            return self.dequantised(signature, 16)
        if scheme in (*BNB4, "bnb-int8") and is_dense(was.scheme):
            return self.packed_on_load(signature, scheme, WIDTH[was.scheme])
        if scheme != was.scheme:
            return None
        if scheme in (*BNB4, "bnb-int8"):
            return [stored(leaf) for leaf in bnb_numbers(signature)]
        return [stored(leaf) for leaf in signature.leaves]


class InTransformersOnCpu(InTransformers):
    """transformers where there is no GPU."""

    on_cpu = True
