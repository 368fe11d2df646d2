"""What two checkpoints, A and B, do not have in common."""

from __future__ import annotations

from typing import NamedTuple


def renamed(name: str, pair: tuple[str, str]) -> str:
    """Return ``name`` with the first of ``pair``, where it begins so, replaced by the second."""
    old, new = pair
    return new + name[len(old) :] if name.startswith(old) else name


class Side(NamedTuple):
    """What is told of one of them."""

    label: str
    tensors: int
    size: int
    """Bytes of its tensors."""
    files: tuple[str, ...]
    """Weight files."""
    schemes: tuple[str, ...]


class Module(NamedTuple):
    """How one module is stored."""

    template: str
    scheme: str
    leaves: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Name, dtype and shape of each tensor; that of a quant_state is the length of a text and left out."""
    shape: tuple[int | None, int | None] | None
    """Rows and columns of the weight, packed or not, None where it has none."""
    quantized: bool


class Changed(NamedTuple):
    """Modules of one template that are stored otherwise, in one way."""

    template: str
    names: tuple[str, ...]
    left: Module
    right: Module


class Group(NamedTuple):
    """Modules of one template."""

    template: str
    names: tuple[str, ...]


class Member(NamedTuple):
    """One value of a JSON file; None for one that is absent on that side (a null is the text ``null``)."""

    pointer: str
    left: str | None
    right: str | None


class Document(NamedTuple):
    """A file that both may have. ``members`` are empty where it is no JSON, or only on one side."""

    file: str
    left: bool
    right: bool
    members: tuple[Member, ...] = ()
    more: int = 0
    """Members beyond those listed."""


class Values(NamedTuple):
    """What comparing bytes showed of the tensors with one name, dtype and shape."""

    same: tuple[Group, ...]
    other: tuple[Group, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Tensors with the same bytes, and with others."""
        return sum(len(g.names) for g in self.same), sum(len(g.names) for g in self.other)


class Difference(NamedTuple):
    """Everything."""

    left: Side
    right: Side
    words: tuple[str, ...]
    """What B is of A, in words."""
    prefix: tuple[str, str] | None
    """Beginning of names in A, and what stands for it in B."""
    changed: tuple[Changed, ...]
    only_left: tuple[Group, ...]
    only_right: tuple[Group, ...]
    documents: tuple[Document, ...]
    values: Values | None
    """None where values were not compared."""

    @property
    def same(self) -> bool:
        """Whether nothing that was compared differs. How tensors are cut into files does not matter."""
        other = self.values.other if self.values else ()
        return not (
            self.prefix or self.changed or self.only_left or self.only_right or self.documents or other
        )
