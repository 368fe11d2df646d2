"""Tensors of a quantised module against its scheme: what is missing, of another dtype, or of another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.names import join
from ..checkpoint.nouns import Signature
from ..model import Fact, Hit, Skip
from ..schemes.recognise import candidates
from ..schemes.solve import Fault, Solution
from .base import Context, Params

_FOREIGN = ("bnb-", "hqq", "vptq", "aqlm", "higgs", "quanto", "eetq", "bitnet", "metal")
"""bitsandbytes has rules of its own; of the others no writer was run, so nothing is judged."""


def faulty(context: Context) -> Iterator[tuple[Signature, Solution]]:
    """Yield every quantised signature whose tensors do not fit its scheme, with the best fit (solved once a view)."""
    found = context.view.memo.get("roles.faulty")
    if not isinstance(found, list):
        found = context.view.memo["roles.faulty"] = list(_faulty(context))
    yield from found


def _faulty(context: Context) -> Iterator[tuple[Signature, Solution]]:
    for signature in context.view.signatures:
        scheme = signature.stored.scheme
        if not signature.stored.quantized or not scheme or scheme.startswith(_FOREIGN):
            continue
        if not all(leaf.dtype for leaf in signature.leaves):
            continue
        for found in candidates(signature.leaves):  # several where a module holds several stems of one scheme
            if found.format.id == scheme and found.faults:
                yield signature, found


def missing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield roles other than the codes that a module lacks."""
    for signature, best in faulty(context):
        for fault in best.faults:
            if fault.what != "missing" or fault.role in _CODES:
                continue
            if not _elsewhere(context, signature, fault.role):
                yield _hit(context, signature, {"scheme": best.format.id, "role": _bare(fault.role)})


def orphans(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that hold scales or zero points of a weight, and neither codes nor a weight."""
    for signature in context.view.signatures:
        names = {leaf.name for leaf in signature.leaves}
        scales = sorted(names & _SCALES)
        if not scales or names & _CODES or any(name.endswith("_blocks") for name in names):
            continue
        if not any(_elsewhere(context, signature, role) for role in _CODES):
            yield _hit(context, signature, {"role": ", ".join(scales)}, scales[0])


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
                yield _hit(context, signature, facts, fault.role)


def shape(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield roles whose shape contradicts the sizes that the module's other tensors settle."""
    for signature, best in faulty(context):
        if any(fault.what == "missing" for fault in best.faults):
            continue  # with a tensor gone the sizes are a guess
        for fault in best.faults:
            if fault.what == "shape" and isinstance(fault.got, tuple):
                facts: dict[str, Fact] = {
                    "scheme": best.format.id,
                    "role": _bare(fault.role),
                    "got": fault.got,
                    "expected": _expectation(fault, best),
                }
                yield _hit(context, signature, facts, fault.role)


_ORDER = ("in", "out", "bits", "group")


def _expectation(fault: Fault, best: Solution) -> str:
    """Say what was expected, and from which numbers."""
    numbers = ", ".join(f"{name}={best.values[name]}" for name in _ORDER if name in best.values)
    if not fault.expected:
        return f"no size that fits {numbers}" if numbers else "another shape"
    return f"{list(fault.expected)} ({numbers})"


_CODES = frozenset(("weight", "qweight", "weight_packed", "*_blocks", "_weight_qdata", "W_q", "weight._data"))
"""Roles that hold the codes; all the others explain them."""

_SCALES = frozenset(
    (
        *("weight_scale", "weight_scale_inv", "weight_scale_2", "weight_global_scale", "weight_zero_point"),
        *("weight_shape", "qzeros", "g_idx", "_weight_scale", "_weight_zero_point"),
    )
)
"""Names that no writer gives to anything but a companion of codes."""


def _bare(role: str) -> str:
    return role.removeprefix("*_")


def _elsewhere(context: Context, signature: Signature, role: str) -> bool:
    """Whether an index puts the tensor into a file that is not read here: then the file is what is missing."""
    index = context.ckpt.index
    file = index.weight_map.get(join(signature.modules[0], role)) if index and signature.modules else None
    return file is not None and file not in context.view.files


def _hit(context: Context, signature: Signature, facts: Mapping[str, Fact], role: str | None = None) -> Hit:
    leaf = role if role is not None and signature.leaf(role) else None
    return Hit(dict(facts), context.view.locate(signature, leaf), signature.template, signature.count)
