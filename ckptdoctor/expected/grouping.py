"""Plain names to groups of modules, for callers that hold no parsed checkpoint (an index alone, a fresh model)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Leaf
from .blueprint import starred


class Group(NamedTuple):
    """Modules of one template with the same leaves."""

    template: str
    leaves: tuple[Leaf, ...]
    modules: list[str]


def grouped(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[Group]:
    """Group plain `{name: (dtype, shape)}` by name template and leaf."""
    modules: dict[str, list[Leaf]] = {}
    for name, (dtype, shape) in tensors.items():
        module, inner, rest = name.partition(".weight.")
        leaf = f"weight.{rest}"
        if not inner:
            module, _, leaf = name.rpartition(".")
        modules.setdefault(module, []).append(Leaf(leaf, dtype, shape))
    groups: dict[tuple[str, tuple[Leaf, ...]], list[str]] = {}
    for module, leaves in modules.items():
        groups.setdefault((starred(module)[0], tuple(sorted(leaves))), []).append(module)
    return [Group(template, leaves, names) for (template, leaves), names in groups.items()]
