"""What transformers keeps: parameters as they are stored, floats in the dtype of config.json."""

from __future__ import annotations

from collections.abc import Collection

from ..checkpoint.nouns import Signature
from ..loaders.base import Reading
from ..loaders.shared.modules import Architecture
from .keeping import BNB4, WIDTH, Keeper, bnb_numbers, is_dense, nameless, plain, stored
from .nouns import Kept

_WIDE = frozenset({"f32", "f64"})


class InTransformers(Keeper):
    """transformers, and loaders that build its models. ``unpacked``: schemes that it has no kernel for there."""

    def __init__(self, reading: Reading, known: Architecture, unpacked: Collection[str] = ()) -> None:
        super().__init__(reading, known)
        self._unpacked = unpacked

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
        if scheme in self._unpacked:
            return self.dequantised(signature, 16)
        if scheme in (*BNB4, "bnb-int8") and is_dense(was.scheme):
            return self.packed_on_load(signature, scheme, WIDTH[was.scheme])
        if scheme != was.scheme:
            return None
        if scheme in (*BNB4, "bnb-int8"):
            return [stored(leaf) for leaf in bnb_numbers(signature)]
        return [stored(leaf) for leaf in signature.leaves]
