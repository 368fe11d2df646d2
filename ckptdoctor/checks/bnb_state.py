"""bitsandbytes 4-bit: what the quantisation state says, against the tensors it describes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..checkpoint.names import join
from ..checkpoint.nouns import QuantState
from ..model import Fact, Hit, Skip
from .base import Context, Need, Params, needs
from .bnb import hit_of, leaf_name, packed

_KEYS = ("quant_type", "blocksize", "dtype", "shape")
_NESTED_KEYS = ("nested_offset", "nested_blocksize", "nested_dtype")


def state_text(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield states that are not the JSON object bitsandbytes wrote."""
    for module in packed(context.view):
        defect = module.signature.state.defect if module.signature.state else None
        if defect == "unreadable":
            yield _unread(context)
        elif defect is not None:
            yield hit_of(context, module, {"why": defect}, leaf_name("quant_state", module.blob))


def _unread(context: Context) -> Skip:
    reason = "a quant_state could not be read"
    return Skip("", "abstained", reason) if context.ckpt.metadata_only else Skip("", "blind", reason)


def state_keys(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield keys that bitsandbytes needs and the state lacks, or (``unknown: true``) keys it refuses."""
    for module in packed(context.view):
        state = module.state
        if state is None:
            continue
        at = leaf_name("quant_state", module.blob)
        if params["unknown"]:
            if state.extra:
                yield hit_of(context, module, {"keys": state.extra}, at)
            continue
        nested = _NESTED_KEYS if "nested_absmax" in module.parts else ()
        lacking = [key for key in _KEYS + nested if not _has(state, key)]
        if lacking:
            yield hit_of(context, module, {"key": lacking[0], "keys": tuple(lacking)}, at)


def _has(state: QuantState, key: str) -> bool:
    return state.has_offset if key == "nested_offset" else getattr(state, key) is not None


def _code_books(context: Context, params: Params) -> Iterator[Need]:
    for module in packed(context.view):
        if module.state and module.state.quant_type != module.blob and "quant_map" in module.parts:
            yield Need(join(module.signature.modules[0], "weight.quant_map"), 64)


@needs(_code_books)
def quant_type(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield states whose type is not that of their name; the code book (``quant_map``) says which of the two lies.

    ``liar: state`` asks for types that contradict the code book, ``liar: name`` for names that do.
    """
    for module in packed(context.view):
        stated = module.state.quant_type if module.state else None
        if not isinstance(stated, str) or stated == module.blob or not module.known:
            continue
        book = _book(context.micro.get(join(module.signature.modules[0], "weight.quant_map"), b""))
        liar = "name" if book == stated else "state"
        if book in (stated, module.blob) and liar == params["liar"]:
            facts: dict[str, Fact] = {"stated": stated[:40], "named": module.blob, "codes": book}
            yield hit_of(context, module, facts, leaf_name("quant_state", module.blob))


def _book(data: bytes) -> str:
    """Return whose code book these 16 floats are: NF4 runs from -1 to 1, FP4 starts at 0."""
    if len(data) != 64:
        return ""
    values = struct.unpack("<16f", data)
    if values[0] == -1.0 and values[15] == 1.0:
        return "nf4"
    return "fp4" if values[0] == 0.0 and values[3] == 1.0 else ""


def zero_offset(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield nested states whose offset, the mean of absolute maxima, is exactly zero."""
    for found in packed(context.view):
        state = found.state
        if state is not None and state.zero_offset and "nested_absmax" in found.parts:
            yield hit_of(context, found, {}, leaf_name("quant_state", found.blob))
