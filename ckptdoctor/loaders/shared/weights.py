"""How many bytes the weights take once a loader holds them."""

from __future__ import annotations

from math import prod

from ...checkpoint.dtypes import BITS
from ...checkpoint.nouns import Checkpoint, Leaf, Signature, View
from ..base import Reading
from .modules import architecture
from .quantised.matching import shape_of

_WIDTH = {"bf16": 16, "f16": 16, "f32": 32, "f64": 64}
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_WIDE = frozenset({"f32", "f64"})


def weight_bytes(ckpt: Checkpoint, reading: Reading) -> int | None:
    """Return the bytes of weights on one device, None where the loader's way of holding them is not known.

    What is stored stays as it is, but for floats that are cast to the dtype of config.json. Of ``tp`` devices each has
    its part of every matrix and all of the rest.
    """
    if not reading.loaded_as:
        return None
    view, total = ckpt.view(reading.plan.files), 0
    asked = reading.target.options.get("tp", 1)
    devices = asked if type(asked) is int and asked > 0 else 1
    for number, split in reading.loaded_as.items():
        signature = view.signatures[number]
        matrix = signature.stored.quantized or any(len(leaf.shape) > 1 for leaf in signature.leaves)
        for scheme, modules in split.items():
            bits = None if _chosen_by_loader(scheme, reading) else _bits(ckpt, view, signature, scheme)
            if bits is None:
                return None
            total += bits * len(modules) // 8 // (devices if matrix else 1)
    return total


def _chosen_by_loader(scheme: str, reading: Reading) -> bool:
    """Whether the loader casts these to a dtype of its own choice."""
    return scheme in _WIDE and not reading.keeps_wide_floats


def _bits(ckpt: Checkpoint, view: View, signature: Signature, scheme: str) -> int | None:
    """Return the bits of one module held as ``scheme``, None where they are not known."""
    if not scheme or (scheme != signature.stored.scheme and scheme not in _WIDTH):
        return None  # quantised on the way
    if not all(leaf.dtype for leaf in signature.leaves):
        return None  # only names are known
    if scheme not in _WIDTH or not signature.stored.quantized:
        return sum(_of_leaf(leaf, scheme) for leaf in signature.leaves)
    rows, columns = shape_of(signature, architecture(ckpt, view))  # dequantised on the way
    return None if rows is None or columns is None else rows * columns * _WIDTH[scheme]


def _of_leaf(leaf: Leaf, scheme: str) -> int:
    width = BITS.get(leaf.dtype, 0)
    return prod(leaf.shape) * (_WIDTH.get(scheme, width) if leaf.dtype in _FLOATS else width)
