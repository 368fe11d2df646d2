"""The same bytes under another dtype: bitsandbytes weights that carry a dtype their loaders do not expect."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..checkpoint.names import join
from ..checkpoint.nouns import Checkpoint, Signature, View
from ..loaders.shared.modules import family
from ..model import Edit, Hit, TensorView
from .base import CONFIG, set_key

_WIDTH = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I8": 1}
_STORAGE = "/quantization_config/bnb_4bit_quant_storage"


def packed(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """View the packed weights of one template as the bytes they are: U8 ``[2n, 1]``."""
    for signature in view.templates.get(hit.subject, ()):
        yield from _as_bytes(view, signature)


def storage(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """View every packed weight as bytes and let config.json say uint8."""
    for signature in view.signatures:
        yield from _as_bytes(view, signature)
    yield from set_key(ckpt, CONFIG, _STORAGE, "uint8")


def _as_bytes(view: View, signature: Signature) -> Iterator[Edit]:
    weight = signature.leaf("weight")
    if weight is None or weight.dtype not in _WIDTH or family(signature.stored.scheme) != "bnb-4bit":
        return
    size = prod(weight.shape) * _WIDTH[weight.dtype]
    was = (weight.dtype, tuple(weight.shape))
    for module in signature.modules:
        tensor = join(module, "weight")
        yield TensorView(view.owner[tensor], tensor, "U8", (size, 1), was)


def signed(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """View LLM.int8 codes of one template as the signed numbers they are."""
    for signature in view.templates.get(hit.subject, ()):
        weight = signature.leaf("weight")
        if weight is not None and weight.dtype == "U8":
            was = (weight.dtype, tuple(weight.shape))
            for module in signature.modules:
                tensor = join(module, "weight")
                yield TensorView(view.owner[tensor], tensor, "I8", was[1], was)
