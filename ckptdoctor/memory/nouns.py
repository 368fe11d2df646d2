"""What the memory room answers with: data, never words for a page. Sizes are bytes on one device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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
