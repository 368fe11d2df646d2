"""What the memory room answers with: data, never words for a page. Sizes are bytes on one device."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple


class Weights(NamedTuple):
    """Predicted bytes of the weights that one device holds once a loader is done."""

    total: int | None
    """Parameters, persistent buffers, and what bitsandbytes keeps beside a weight; None where it is not known."""
    by_scheme: Mapping[str, int] = {}
    """Scheme id (``bnb-nf4``, ``bf16``) → bytes held so; they add up to ``total``."""
    numbers: int | None = None
    """How many weights these are, packed ones counted one by one; None where a packed size is not known."""
    unknown: str = ""
    """Why ``total`` is None, else empty."""

    @property
    def as_16bit(self) -> int | None:
        """Bytes that the same weights take in bfloat16."""
        return None if self.numbers is None else 2 * self.numbers


class Kept(NamedTuple):
    """One tensor of one module as a loader keeps it."""

    leaf: str
    numbers: int
    """Elements."""
    width: int
    """Bits of an element."""


class Layers(NamedTuple):
    """Layers that keep the same of a sequence, on one device."""

    kind: Literal["full", "window", "chunk", "latent", "state"]
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    per_token: int = 0
    """Bytes of one layer for one token."""
    window: int = 0
    """Tokens back that a layer looks, or of a chunk; 0 for all."""
    state: int = 0
    """Bytes of one layer for one sequence, however long it is."""


class Cache(NamedTuple):
    """What the layers keep of sequences, on one device."""

    layers: tuple[Layers, ...] = ()
    dtype: str = ""
    """Numbers are kept as this, ``bfloat16`` or ``fp8``."""
    copies: int = 1
    """States held per sequence."""
    unknown: str = ""
    """Why nothing is known, else empty."""

    @property
    def per_token(self) -> int:
        """Bytes that one more token takes while no window is full."""
        return sum(item.count * item.per_token for item in self.layers)

    @property
    def per_sequence(self) -> int:
        """Bytes that a sequence takes whatever its length."""
        return sum(item.count * item.state for item in self.layers) * self.copies

    def of(self, context: int, batch: int = 1, in_flight: int = 0) -> int:
        """Return the bytes of ``batch`` sequences of ``context`` tokens in vLLM.

        It keeps whole blocks. ``in_flight`` is how many tokens a step computes, which a window's layers hold too
        (``SlidingWindowSpec.max_admission_blocks_per_request``).
        """
        return batch * (self.per_sequence + sum(map(partial(_held, context, in_flight), self.layers)))


BLOCK = 16
"""Tokens of a block on a GPU."""


def _held(context: int, in_flight: int, item: Layers) -> int:
    """Return the bytes of some layers for one sequence, states apart."""
    blocks = -(-context // BLOCK)
    if item.kind == "window":
        blocks = min(blocks, -(-min(item.window - 1 + in_flight, context) // BLOCK) + 1)
    elif item.kind == "chunk":
        blocks = min(blocks, -(-min(item.window + in_flight, context) // BLOCK))
    return blocks * BLOCK * item.count * item.per_token
