"""bitsandbytes LLM.int8: an I8 weight, its row scales (SCB) and the layout number nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Leaf, Signature
from ..formats import registry
from ..formats.declared import declarations
from ..model import Fact, Hit, Skip
from .base import Context, Params
from .shapes import differs_in_width_only, expected_shape, is_asked_for, is_spelled_otherwise

_OWN = frozenset({"weight", "bias", "SCB", "weight_format", "weight.SCB"})


def _modules(context: Context) -> Iterator[tuple[Signature, Leaf | None, Leaf | None]]:
    """Yield (signature, weight, SCB) of every module that is LLM.int8 by its tensors or by its tensors and config."""
    declared = any(
        registry.declares(block, "bnb-int8", context.rulebook) and block.block.get("load_in_8bit") is True
        for block in declarations(context.ckpt)
    )
    for signature in context.view.signatures:
        names = {leaf.name for leaf in signature.leaves}
        weight, scb = signature.leaf("weight"), signature.leaf("SCB")
        marked = "weight_format" in names and (weight is None or weight.dtype in ("I8", "U8", ""))
        sure = scb is not None or marked or "weight.SCB" in names
        codes = weight is not None and weight.dtype == "I8" and len(weight.shape) == 2
        if names <= _OWN and (sure or (declared and codes)):
            yield signature, weight, scb


def companions(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that lack their weight or their scales."""
    for signature, weight, scb in _modules(context):
        if not is_asked_for(context, signature):
            continue
        for role, leaf in (("weight", weight), ("SCB", scb)):
            if leaf is None and not is_spelled_otherwise(context, signature, role):
                yield _hit(context, signature, {"role": role}, role)


def scales(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield scales that are not F32."""
    for signature, _, scb in _modules(context):
        if scb is not None and scb.dtype not in ("F32", ""):
            yield _hit(context, signature, {"dtype": scb.dtype}, "SCB")


def lengths(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield scales that are not one per output row (rows as config.json has them or as stored)."""
    for signature, weight, scb in _modules(context):
        if weight is None or scb is None or len(weight.shape) != 2 or not scb.dtype:
            continue
        rows = (expected_shape(context, signature.template) or weight.shape)[0]
        fitting = {shape for n in (rows, weight.shape[0]) for shape in ((n,), (1, n), (n, 1))}
        if scb.shape not in fitting:
            yield _hit(context, signature, {"expected": (rows,), "got": scb.shape}, "SCB")


def codes(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights whose codes have another dtype than I8, in LLM.int8's own shape."""
    for signature, weight, scb in _modules(context):
        if weight is not None and scb is not None and weight.dtype == "U8":
            yield _hit(context, signature, {"dtype": weight.dtype}, "weight")


def shape(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights whose shape is not the one config.json leads to; ``computes`` as in ``bnb.shape``."""
    for signature, weight, _ in _modules(context):
        expected = expected_shape(context, signature.template)
        if (
            weight is not None
            and expected is not None
            and weight.dtype in ("I8", "U8")
            and weight.shape != expected
        ):
            computes = differs_in_width_only(context, signature.template)
            facts: dict[str, Fact] = {"expected": expected, "got": weight.shape, "computes": computes}
            yield _hit(context, signature, facts, "weight")


def _hit(context: Context, signature: Signature, facts: dict[str, Fact], leaf: str) -> Hit:
    return Hit(facts, context.view.locate(signature, leaf), signature.template, signature.count)
