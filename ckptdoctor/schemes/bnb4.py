"""bitsandbytes 4-bit: the shapes are a product of two unknowns, so the quantisation state has to tell.

``QuantState.as_dict`` of https://github.com/bitsandbytes-foundation/bitsandbytes, bitsandbytes/functional.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from .base import QuantState, Stored

SCHEMES = ("bnb-nf4", "bnb-fp4", "bnb-4bit")
"""The schemes that no file describes; without a state, or with that of another type, it is the last."""
STATE = "weight.quant_state.bitsandbytes__"
_OTHERS = ("weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map")


def recognise(names: Iterable[str], state: QuantState | None) -> Stored | None:
    """Return the scheme of a module with these tensors, None when it is not stored in 4 bits.

    ``bnb-nf4`` and ``bnb-fp4`` are told by the name of the quantisation state; without one it is ``bnb-4bit``.
    """
    present = list(names)
    suffix = next((name.removeprefix(STATE) for name in present if name.startswith(STATE)), None)
    if suffix is None and not any(name in _OTHERS for name in present):
        return None
    named = f"bnb-{suffix}"
    scheme = named if named in SCHEMES else SCHEMES[-1]
    shape = state.shape if state is not None else None
    rows, columns = shape if shape and len(shape) == 2 else (None, None)
    blocksize = state.blocksize if state is not None else None
    return Stored(scheme, 4, blocksize if type(blocksize) is int else None, columns, rows, True)
