"""The rulebook's schemes (``rules/schemes/*.yaml``) as objects, found by the tensors that give them away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..ruledata import Rulebook
from .monomial import Monomial, parse

REST = "..."
"""First dimension of a role: any leading dimensions (experts), the same ones in every role that has it."""


class Shape(NamedTuple):
    """The dimensions that a tensor may have."""

    dims: tuple[Monomial, ...]
    stacked: bool
    """Leading dimensions may come before ``dims``."""


class Role(NamedTuple):
    """One tensor of a scheme."""

    name: str
    dtypes: frozenset[str]
    """Empty when every dtype will do."""
    shapes: tuple[Shape, ...]
    """Empty when the shape says nothing. Sizes are solved from a role's only shape; of several, one must fit them."""
    optional: bool


class Format(NamedTuple):
    """One scheme."""

    id: str
    identify: Mapping[str, frozenset[str]]
    """Roles that give the scheme away, complete or not, and the dtypes they must have for that (none: any)."""
    roles: Mapping[str, Role]
    bits: tuple[int, ...]
    groups: tuple[int | str, ...]
    """Group sizes along ``in`` that occur; ``in`` for one group per row."""
    stemmed: bool
    """Roles are endings such as ``*_blocks``: a module may hold several sets of them."""


def formats(rulebook: Rulebook) -> tuple[Format, ...]:
    """Return the schemes of a rulebook, those with most identifying roles first."""
    return rulebook.derived(_built)


def _built(rulebook: Rulebook) -> tuple[Format, ...]:
    found = [build(name, data) for name, data in rulebook.schemes.items()]
    return tuple(sorted(found, key=lambda format_: (-len(format_.identify), format_.id)))


def build(name: str, data: Mapping[str, Any]) -> Format:
    """Build one scheme from its data. Raises ValueError when a dimension cannot be parsed."""
    roles = {role: _role(role, given) for role, given in data["roles"].items()}
    return Format(
        name,
        {role: frozenset(dtypes) for role, dtypes in data["identify"].items()},
        roles,
        tuple(data.get("bits", ())),
        tuple(data.get("group", ())),
        any(role.startswith("*") for role in roles),
    )


def _role(name: str, data: Mapping[str, Any]) -> Role:
    shape: Sequence[Any] | None = data.get("shape")
    several = shape is not None and any(isinstance(dims, list) for dims in shape)
    shapes = tuple(map(_shape, shape if several else [shape])) if shape is not None else ()
    return Role(name, frozenset(data.get("dtype", ())), shapes, bool(data.get("optional")))


def _shape(dims: Sequence[str | int]) -> Shape:
    return Shape(tuple(parse(str(dim)) for dim in dims if dim != REST), list(dims[:1]) == [REST])
