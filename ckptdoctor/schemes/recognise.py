"""Which scheme a module is stored in, told from its tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from .base import Leaf, QuantState, Stored

_BNB = "weight.quant_state.bitsandbytes__"


def recognise(leaves: tuple[Leaf, ...], state: QuantState | None) -> Stored:
    """Return how the module with these leaves is stored; scheme ``""`` when only names are known and do not tell."""
    by_name = {leaf.name: leaf for leaf in leaves}
    for name in by_name:
        if name.startswith(_BNB):
            return _bnb_4bit(name.removeprefix(_BNB), state)
    if "SCB" in by_name:
        return _bnb_int8(by_name)
    return dense(leaves, by_name)


def _bnb_4bit(suffix: str, state: QuantState | None) -> Stored:
    shape = state.shape if state is not None and state.defect is None else None
    blocksize = state.blocksize if state is not None else None
    return Stored(
        f"bnb-{suffix}",
        4,
        blocksize if isinstance(blocksize, int) else None,
        shape[-1] if shape else None,
        shape[0] if shape and len(shape) == 2 else None,
        True,
    )


def _bnb_int8(by_name: Mapping[str, Leaf]) -> Stored:
    weight = by_name.get("weight")
    shape = weight.shape if weight is not None else ()
    rows, columns = shape if len(shape) == 2 else (None, None)
    return Stored("bnb-int8", 8, None, columns, rows, True)


def dense(leaves: tuple[Leaf, ...], by_name: Mapping[str, Leaf]) -> Stored:
    """Return the scheme of a module that is not quantised: the dtype of its weight, else of its largest tensor."""
    main = by_name.get("weight") or max(leaves, key=lambda leaf: prod(leaf.shape), default=None)
    if main is None:
        return Stored("")
    matrix = len(main.shape) >= 2
    return Stored(
        main.dtype.lower(),
        None,
        None,
        main.shape[-1] if matrix else None,
        main.shape[-2] if matrix else None,
    )
