"""How transformers holds one weight: as it is stored, made bitsandbytes, or dense."""

from __future__ import annotations

from collections.abc import Callable

from ...checkpoint.nouns import Signature
from ..shared.modules import ROUTERS, Architecture, family, is_convertible, is_plain_weight, kind
from ..shared.precision import SKIPPED, UNDECLARED

NEVER = "never-quantised"
"""Of experts and routers, which bitsandbytes does not convert where they are no linear layers."""


def read_as(
    signature: Signature,
    module: str,
    method: str,
    known: Architecture,
    skipped: Callable[[str], bool],
    dtype: str,
    *,
    fused: bool,
) -> str:
    """Return the scheme id a module is held at when ``method`` is in force; ``fused`` where experts are on load."""
    stored = signature.stored.scheme
    bnb = method in ("bnb-4bit", "bnb-8bit")
    if bnb and is_linear(signature, method, known, fused=fused) and not skipped(module):
        return (
            stored if family(stored) == method else {"bnb-4bit": "bnb-4bit", "bnb-8bit": "bnb-int8"}[method]
        )
    if family(stored) == "dense" or (
        family(stored) in ("integers", "float8") and is_plain_weight(signature, known) and not method
    ):
        return dtype or "bf16"
    if family(stored) in ("bnb-4bit", "bnb-8bit"):
        if bnb and fused and not skipped(module) and _of_experts(signature, known):
            return NEVER
        return SKIPPED if bnb else UNDECLARED
    return UNDECLARED if signature.stored.quantized and not method else stored


def is_linear(signature: Signature, method: str, known: Architecture, *, fused: bool) -> bool:
    """Whether a module becomes one of bitsandbytes: before experts were fused, quantised ones and routers did too."""
    if is_convertible(signature, known):
        return True
    return not fused and family(signature.stored.scheme) == method and _of_experts(signature, known)


def _of_experts(signature: Signature, known: Architecture) -> bool:
    """Whether a module is an expert or chooses among them: linear layers in 4.x, parameters of their own in 5.x."""
    return kind(signature, known) == "expert" or signature.template.rpartition(".")[2] in ROUTERS
