"""Which tensors of a module a loader keeps, how many elements they have and how wide each is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod

from ..checkpoint.dtypes import BITS
from ..checkpoint.nouns import Leaf, Signature
from ..loaders.base import Reading
from ..loaders.shared.modules import DENSE, Architecture
from ..loaders.shared.quantised.matching import shape_of
from .nouns import Kept

WIDTH = {"bf16": 16, "f16": 16, "f32": 32, "f64": 64}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
BNB4 = frozenset({"bnb-nf4", "bnb-fp4"})
BLOCK = 64
"""Weights that share a scale where bitsandbytes packs while loading (``quantize_4bit``'s own default)."""
_CODE = 16
"""Entries of the table of 4-bit numbers, float32 each."""


class Keeper(ABC):
    """How one loader keeps what it reads."""

    def __init__(self, reading: Reading, known: Architecture) -> None:
        self.reading = reading
        self.known = known

    @abstractmethod
    def kept(self, signature: Signature, scheme: str) -> list[Kept] | None:
        """Return what one module held as ``scheme`` keeps, None where that is not known."""

    def numbers(self, signature: Signature) -> int | None:
        """Return how many weights one module has, None where a packed size is not known."""
        if not signature.stored.quantized:
            return sum(prod(leaf.shape) for leaf in signature.leaves if leaf.dtype in FLOATS)
        beside = sum(prod(leaf.shape) for leaf in signature.leaves if is_bias(leaf))
        whole = self.packed_numbers(signature)
        return None if whole is None else whole + beside

    def packed_numbers(self, signature: Signature) -> int | None:
        """Return how many numbers a packed weight stands for: by its state, its shape or its class."""
        if signature.state is not None and signature.state.shape:
            return prod(signature.state.shape)
        blocks = [leaf for leaf in signature.leaves if leaf.name.endswith("_blocks")]
        if blocks:  # two 4-bit numbers a byte
            return sum(2 * prod(leaf.shape) for leaf in blocks)
        rows, columns = shape_of(signature, self.known)
        return None if rows is None or columns is None else rows * columns

    def dequantised(self, signature: Signature, width: int) -> list[Kept] | None:
        """Return a packed module as plain numbers of ``width`` bits."""
        numbers = self.packed_numbers(signature)
        if numbers is None:
            return None
        biases = [Kept(leaf.name, prod(leaf.shape), width) for leaf in signature.leaves if is_bias(leaf)]
        return [Kept("weight", numbers, width), *biases]

    def packed_on_load(self, signature: Signature, scheme: str, width: int) -> list[Kept] | None:
        """Return a plain module that is packed by bitsandbytes while it loads, without double quantisation."""
        weight = signature.leaf("weight")
        if weight is None or len(weight.shape) != 2:
            return None
        numbers, rows = prod(weight.shape), weight.shape[0]
        beside = [
            Kept(leaf.name, prod(leaf.shape), width) for leaf in signature.leaves if leaf.name != "weight"
        ]
        if scheme == "bnb-int8":
            return [Kept("weight", numbers, 8), Kept("SCB", rows, 32), *beside]
        return [
            Kept("weight", -(-numbers // 2), 8),
            Kept("weight.absmax", -(-numbers // BLOCK), 32),
            Kept("weight.quant_map", _CODE, 32),
            *beside,
        ]


def devices(reading: Reading) -> int:
    """Return the number of devices that a target shares every layer over."""
    asked = reading.target.options.get("tp", 1)
    return asked if type(asked) is int and asked > 0 else 1


def is_dense(scheme: str) -> bool:
    """Whether ``scheme`` is plain numbers."""
    return scheme in DENSE


def is_bias(leaf: Leaf) -> bool:
    """Whether a tensor is added to a product, and is no part of a weight."""
    return leaf.name == "bias" or leaf.name.endswith("_bias")


def plain(leaf: Leaf, width: int) -> Kept:
    """Return a tensor of which floats become ``width`` bits wide and all else stays."""
    return Kept(leaf.name, prod(leaf.shape), width if leaf.dtype in FLOATS else BITS.get(leaf.dtype, 0))


def stored(leaf: Leaf) -> Kept:
    """Return a tensor as it is stored."""
    return Kept(leaf.name, prod(leaf.shape), BITS.get(leaf.dtype, 0))


def nameless(signature: Signature) -> bool:
    """Whether nothing but the names of the tensors is known."""
    return not all(leaf.dtype for leaf in signature.leaves)


def bnb_numbers(signature: Signature) -> Iterator[Leaf]:
    """Yield the tensors of a bitsandbytes module that stay tensors: its JSON and format marker do not."""
    for leaf in signature.leaves:
        if ".quant_state." not in leaf.name and leaf.name != "weight_format":
            yield leaf
