"""Tensors of a quantised module against its scheme: what is missing, of another dtype, or of another shape."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Signature
from ..formats.tables import tables
from ..model import Fact, Hit, Skip
from ..schemes.recognise import candidates
from ..schemes.solve import Fault, Solution
from .base import Context, Params
from .companions import codeless, codes_of, elsewhere, hit, is_codes, unscaled


def faulty(context: Context) -> Iterator[tuple[Signature, Solution]]:
    """Yield every quantised signature whose tensors do not fit its scheme, with the best fit (solved once a view)."""
    found = context.view.memo.get("roles.faulty")
    if not isinstance(found, list):
        found = context.view.memo["roles.faulty"] = list(_faulty(context))
    yield from found


def _faulty(context: Context) -> Iterator[tuple[Signature, Solution]]:
    unjudged = tables(context.rulebook).unjudged
    for signature in context.view.signatures:
        scheme = signature.stored.scheme
        if not signature.stored.quantized or not scheme or scheme in unjudged:
            continue
        if not all(leaf.dtype for leaf in signature.leaves):
            continue
        # several where a module holds several stems of one scheme
        for found in candidates(signature.leaves, context.rulebook):
            if found.format.id == scheme and found.faults and not _mixed(signature, found):
                yield signature, found


_BESIDE = frozenset(("k_scale", "v_scale", "q_scale", "kv_scale", "output_scale", "pre_quant_scale"))
"""What may lie beside the tensors of any scheme."""


def _mixed(signature: Signature, best: Solution) -> bool:
    """Whether tensors that are no part of the scheme lie beside it, while some of its own are gone: another scheme."""
    if not best.unexplained or not any(fault.what == "missing" for fault in best.faults):
        return False
    if best.format.stemmed:
        return False
    return any(leaf.name not in best.format.roles and leaf.name not in _BESIDE for leaf in signature.leaves)


def missing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield roles other than the codes that a module lacks."""
    for signature, best in faulty(context):
        for fault in best.faults:
            if fault.what != "missing" or is_codes(fault.role, context.rulebook):
                continue
            if elsewhere(context, signature, fault.role):
                continue
            yield hit(context, signature, {"scheme": best.format.id, "role": _bare(fault.role)})
    for signature, scheme, role in unscaled(context):
        if not elsewhere(context, signature, role):
            yield hit(context, signature, {"scheme": scheme, "role": role})


def orphans(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that hold scales or zero points of a weight, and neither codes nor a weight."""
    for signature in context.view.signatures:
        scales = codeless(signature.leaves, context.rulebook)
        if scales and not any(
            elsewhere(context, signature, role) for role in codes_of(scales, context.rulebook)
        ):
            yield hit(context, signature, {"role": ", ".join(scales)}, scales[0])


def dtype(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield roles whose dtype the scheme does not have."""
    for signature, best in faulty(context):
        for fault in best.faults:
            if fault.what == "dtype":
                facts: dict[str, Fact] = {
                    "scheme": best.format.id,
                    "role": _bare(fault.role),
                    "got": str(fault.got),
                    "expected": " or ".join(map(str, fault.expected)),
                }
                yield hit(context, signature, facts, fault.role)


def shape(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield roles whose shape contradicts the sizes that the module's other tensors settle."""
    for signature, best in faulty(context):
        if any(fault.what == "missing" for fault in best.faults):
            continue  # with a tensor gone the sizes are a guess
        weight = signature.leaf("weight")
        if weight is not None and len(weight.shape) > _EXPERTS:
            continue  # the scales of a convolution have shapes of their own
        for fault in best.faults:
            if fault.what == "shape" and isinstance(fault.got, tuple):
                facts: dict[str, Fact] = {
                    "scheme": best.format.id,
                    "role": _bare(fault.role),
                    "got": fault.got,
                    "expected": _expectation(fault, best),
                }
                yield hit(context, signature, facts, fault.role)


_EXPERTS = 3
"""Dimensions of the weights of stacked experts, the most that schemes describe."""

_ORDER = ("in", "out", "bits", "group")


def _expectation(fault: Fault, best: Solution) -> str:
    """Say what was expected, and from which numbers."""
    numbers = ", ".join(f"{name}={best.values[name]}" for name in _ORDER if name in best.values)
    if not fault.expected:
        return f"no size that fits {numbers}" if numbers else "another shape"
    return f"{list(fault.expected)} ({numbers})"


def _bare(role: str) -> str:
    return role.removeprefix("*_")
