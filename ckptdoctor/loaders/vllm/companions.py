"""Parts of packed weights that have no place in vLLM: the model is asked to load them as parameters, and refuses."""

from __future__ import annotations

from collections.abc import Iterator

from ...checkpoint.nouns import Leaf, Signature, View
from ...formats.parts import DENSE, wholes
from ...ruledata import Rulebook
from ..base import Event
from .tensors import KV_SCALES


def stray(view: View) -> Iterator[Event]:
    """Yield the companions beside plain weights, where nothing is declared."""
    for signature in view.signatures:
        if is_dense(signature):
            for leaf in signature.leaves:
                if is_companion(leaf, view.rulebook):
                    yield unexpected(view, signature, leaf)


def is_dense(signature: Signature) -> bool:
    """Whether the weight is plain numbers."""
    weight = signature.leaf("weight")
    return weight is not None and weight.dtype in DENSE


def is_companion(leaf: Leaf, rulebook: Rulebook) -> bool:
    """Whether a tensor, by its name, belongs to a packed weight."""
    return leaf.name not in KV_SCALES and "_.weight" in wholes(f"_.{leaf.name}", rulebook)


def unexpected(view: View, signature: Signature, leaf: Leaf, error: str | None = None) -> Event:
    """Return the refusal of one tensor of a signature."""
    at = view.locate(signature, leaf.name)
    name = f"{signature.template}.{leaf.name}"
    return Event("unexpected-tensor", "fails", {}, at, name, signature.count, error=error)
