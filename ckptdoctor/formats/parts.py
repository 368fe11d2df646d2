"""Which stored tensors are parts of a quantised one, by name alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..ruledata import Rulebook
from .tables import Tables, tables

DENSE = frozenset({"F64", "F32", "F16", "BF16"})
"""Dtypes of plain weights."""
BUFFERS = ("rotary_emb.inv_freq", "rotary_pos_emb.inv_freq", "position_ids", "masked_bias", "attn.bias")
"""Endings of buffers that are recomputed and that every loader drops without a word."""


def has_companions(parameter: str, leaves: Collection[str], rulebook: Rulebook) -> bool:
    """Whether a module holds parts of a quantised form of `parameter`."""
    known = tables(rulebook)
    return any(leaf != parameter and parameter in _parameters(leaf, known) for leaf in leaves)


def wholes(tensor: str, rulebook: Rulebook) -> Iterator[str]:
    """The tensors of which a stored one may be a quantised part."""
    known, parts = tables(rulebook), tensor.split(".")
    for width in (1, 2, 3):  # `weight_packed`, `weight.absmax`, `weight.quant_state.bitsandbytes__nf4`
        if len(parts) > width:
            module = ".".join(parts[:-width])
            for parameter in _parameters(".".join(parts[-width:]), known):
                yield f"{module}.{parameter}"


def _parameters(leaf: str, known: Tables) -> Iterator[str]:
    """The parameters that a leaf may be a part of."""
    if leaf in known.names or leaf.startswith(known.starts):
        yield "weight"
    head, dot, _ = leaf.partition(".")
    if dot:
        yield head
    for ending in known.endings:
        if leaf.endswith(ending):
            yield leaf[: -len(ending)]
