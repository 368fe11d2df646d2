"""How one module is to be stored by its config: a format's numbers, and the tensors that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

Shape = tuple[int, ...]
Tensors = dict[str, Shape | None]

SCALAR: Shape = (1,)


class Layout(NamedTuple):
    """The format of one module as a config declares it."""

    format: str
    """The format's word for it: ``pack-quantized`` of compressed-tensors, or the method; another word where the
    tensors are not known."""
    tensors: Callable[[Layout, int, int], Tensors] | None = None
    """Tensor → shape for a weight of so many rows and columns; None where the format's tensors are not known."""
    bits: int = 8
    group: int | None = None
    """Input columns that share a scale; None for all of a row."""
    block: tuple[int, int] | None = None
    """Rows and columns of a tile that shares a scale."""
    per_tensor: bool = False
    symmetric: bool = True
    static_input: bool = False

    def scales(self, rows: int, columns: int) -> Shape:
        """Return the shape of the scales of a weight ``[rows, columns]``, output first."""
        if self.block:
            return (-(-rows // self.block[0]), -(-columns // self.block[1]))
        if self.per_tensor:
            return SCALAR
        return (rows, -(-columns // self.group) if self.group else 1)

    def parts(self, rows: int | None, columns: int | None) -> Mapping[str, Shape | None] | None:
        """Return tensor → shape for a weight ``[rows, columns]``; None where the format's tensors are not known.

        Shapes are None as far as the weight's own is not known.
        """
        if self.tensors is None:
            return None
        if rows is None or columns is None:
            return dict.fromkeys(self.tensors(self, 1, 1))
        return self.tensors(self, rows, columns)
