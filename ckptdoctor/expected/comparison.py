"""How the tensors of a checkpoint relate to the expected ones: what `comparer` finds missing, surplus or misshapen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .stored import Index


class Missing(NamedTuple):
    """Expected tensors of one template that are not stored."""

    template: str
    indices: tuple[Index, ...]
    """One tuple of indices per tensor, the empty tuple where the template has no `*`."""
    kind: str

    @property
    def names(self) -> Iterator[str]:
        """Full tensor names."""
        return (_named(self.template, index) for index in self.indices)


class Mismatch(NamedTuple):
    """Dense tensors whose shape contradicts config.json."""

    template: str
    name: str
    """The first such tensor."""
    total: int
    got: tuple[int, ...]
    expected: tuple[int, ...]
    formula: str


class Unexpected(NamedTuple):
    """Stored tensors that the architecture does not ask for."""

    template: str
    total: int


class Comparison(NamedTuple):
    """How the tensors of a checkpoint relate to what its configuration calls for."""

    missing: tuple[Missing, ...]
    unclear: tuple[Missing, ...]
    """Experts that are absent under every known name, beside names that this rulebook does not know."""
    unexpected: tuple[Unexpected, ...]
    mismatched: tuple[Mismatch, ...]
    expected: int
    found: int
    bare: bool
    """The names lack the prefix of the base model (`layers.0…` instead of `model.layers.0…`)."""
    doubled: bool
    """The names carry that prefix twice (`model.model.layers.0…`)."""

    @property
    def matched(self) -> float:
        """The fraction of expected tensors that are stored."""
        return self.found / self.expected if self.expected else 1.0


def _named(template: str, index: Index) -> str:
    numbers = iter(index)
    return ".".join(next(numbers) if part == "*" else part for part in template.split("."))
