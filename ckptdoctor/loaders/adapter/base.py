"""The modules of an adapter's base, as the class that its config.json leads to has them."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from ...checkpoint.nouns import Checkpoint
from ..shared.modules import architecture

_KINDS = {"linear": "linear", "head": "head", "embedding": "embedding", "norm": "norm"}


class Module(NamedTuple):
    """One module with parameters of its own."""

    kind: str
    """linear, head, embedding, norm, or other: something whose class is not known."""
    shape: tuple[int, ...] | None
    """Of its weight: ``[out, in]``, of an embedding ``[vocabulary, dimension]``."""
    bias: tuple[int, ...] | None = None


class Base(NamedTuple):
    """What is known of a base."""

    modules: dict[str, Module]
    """By name, as in ``named_modules()`` of the model."""
    renames: bool
    """Other releases of its class use other names, which PEFT may translate."""
    tied: bool

    @property
    def parents(self) -> frozenset[str]:
        """Every module that holds others."""
        found: set[str] = set()
        for name in self.modules:
            while "." in name and (name := name.rpartition(".")[0]) not in found:
                found.add(name)
        return frozenset(found)


def base_of(ckpt: Checkpoint) -> Base | str:
    """Return what is known of a base checkpoint, or why nothing is. Shapes are logical, whatever it is stored as."""
    if "config.json" not in ckpt.entries:
        return "the base has no config.json"
    known = architecture(ckpt, ckpt.view(()))
    if known.expected is None:
        return f"the base's modules are not known: {known.reason}"
    found: dict[str, Module] = {}
    for template, entries in known.expected.entries.items():
        name, _, leaf = template.rpartition(".")
        for entry in entries:
            for indices in product(*entry.indices):
                module = _filled(name, indices)
                kind = _KINDS.get(entry.kind, "other")
                if leaf == "weight":
                    other = found.get(module)
                    found[module] = Module(kind, entry.shape, other.bias if other else None)
                elif leaf == "bias":
                    found[module] = found.get(module, Module("other", None))._replace(bias=entry.shape)
                else:
                    found.setdefault(module, Module("other", None))
    return Base(found, bool(known.expected.renamed), bool(known.expected.tied))


def _filled(template: str, indices: tuple[int, ...]) -> str:
    numbers = iter(indices)
    return ".".join(str(next(numbers)) if part == "*" else part for part in template.split("."))
