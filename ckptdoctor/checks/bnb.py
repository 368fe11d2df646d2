"""bitsandbytes 4-bit: a packed weight, the tensors that decode it, and the JSON that says how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

from ..checkpoint.names import join
from ..checkpoint.nouns import Declared, Leaf, QuantState, Signature, View
from ..formats import registry
from ..formats.declared import declarations
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params
from .shapes import differs_in_width_only, expected_shape, is_asked_for, is_spelled_otherwise

_ROLES = ("weight", "absmax", "quant_map", "quant_state")
_NESTED = ("nested_absmax", "nested_quant_map")
_BLOB = "quant_state.bitsandbytes__"
_BYTES = {"U8": 1, "I8": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


class Packed(NamedTuple):
    """One signature that has companions of bitsandbytes 4-bit."""

    signature: Signature
    parts: Mapping[str, Leaf]
    """Role → tensor; ``weight`` and what follows ``weight.``, the state under ``quant_state``."""
    blob: str
    """``nf4`` or ``fp4`` as the name of the state says, "" without a state."""

    @property
    def state(self) -> QuantState | None:
        """The parsed state, None when it is absent or could not be parsed."""
        state = self.signature.state
        return state if state is not None and state.defect is None else None

    @property
    def known(self) -> bool:
        """Whether dtypes and shapes are known (they are not when only an index told the names)."""
        return all(leaf.dtype for leaf in self.parts.values())

    @property
    def elements(self) -> int | None:
        """Number of weights, by the state's shape."""
        state = self.state
        return prod(state.shape) if state is not None and state.shape is not None else None


def packed(view: View) -> Iterator[Packed]:
    """Yield every signature that has a 4-bit companion."""
    for signature in view.signatures:
        parts: dict[str, Leaf] = {}
        blob = ""
        for leaf in signature.leaves:
            role = leaf.name.removeprefix("weight.")
            if role.startswith(_BLOB):
                parts["quant_state"], blob = leaf, role.removeprefix(_BLOB)
            elif role == "weight" or role in _ROLES + _NESTED:
                parts[role] = leaf
        if len(parts) > ("weight" in parts):
            yield Packed(signature, parts, blob)


def companions(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the roles a module lacks, of those named in ``roles``."""
    wanted = str(params["roles"]).split()
    for module in packed(context.view):
        if not is_asked_for(context, module.signature):
            continue  # no loader looks for the other parts of what its model does not have
        for roles in _missing(module):
            if roles[0] not in wanted:
                continue
            leaf = leaf_name(roles[0], module.blob)
            spelled = is_spelled_otherwise(context, module.signature, leaf)
            if not spelled and not _elsewhere(context, module.signature, leaf):
                scheme = f"bnb-{module.blob}" if module.blob else "bnb-4bit"
                yield hit_of(context, module, {"scheme": scheme, "role": ", ".join(roles)}, leaf)


def _missing(module: Packed) -> Iterator[tuple[str, ...]]:
    """Yield missing roles; the two nested ones together when both are gone, for the second is read with the first."""
    parts = module.parts
    yield from ((role,) for role in _ROLES if role not in parts)
    absmax = parts.get("absmax")
    lost = tuple(role for role in _NESTED if role not in parts)
    if lost and _is_nested(module) and (absmax is None or absmax.dtype not in _FLOATS):
        yield lost


def _is_nested(module: Packed) -> bool:
    state = module.state
    stated = state is not None and (state.has_offset or state.nested_blocksize is not None)
    return stated or any(role in module.parts for role in _NESTED)


def leaf_name(role: str, blob: str) -> str:
    """Return the leaf that holds ``role``; ``blob`` is the type in the state's name."""
    if role == "weight":
        return role
    return f"weight.{_BLOB}{blob or 'nf4'}" if role == "quant_state" else f"weight.{role}"


def _elsewhere(context: Context, signature: Signature, leaf: str) -> bool:
    """Whether an index puts the tensor into a file that is not read here: then the file is what is missing."""
    index = context.ckpt.index
    file = index.weight_map.get(join(signature.modules[0], leaf)) if index and signature.modules else None
    return file is not None and file not in context.view.files


def lone(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield packed-looking weights without a single companion, under a config that says bitsandbytes."""
    if registry.as_scheme(context.ckpt, "bnb-4bit") is None:
        return
    for signature in context.view.signatures:
        weight = signature.leaf("weight")
        names = {leaf.name for leaf in signature.leaves}
        if weight is None or not names <= {"weight", "bias"} or weight.dtype not in ("U8", "I8"):
            continue
        if len(weight.shape) == 2 and weight.shape[1] == 1 and weight.shape[0] > 1:
            if is_spelled_otherwise(context, signature, "weight.absmax"):
                continue
            facts: dict[str, Fact] = {"dtype": weight.dtype, "shape": weight.shape}
            yield Hit(facts, context.view.locate(signature, "weight"), signature.template, signature.count)


def scales(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules whose absmax dtype contradicts ``nested``: plain floats if true, codes if false."""
    nested = params["nested"]
    for module in packed(context.view):
        absmax = module.parts.get("absmax")
        if absmax is None or (absmax.dtype in _FLOATS) is not nested:
            continue
        if "nested_absmax" in module.parts if nested else absmax.dtype == "U8" and not _is_nested(module):
            yield hit_of(context, module, {"dtype": absmax.dtype}, "weight.absmax")


def scale_types(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield scales of a dtype that bitsandbytes never wrote: neither floats nor (for those of weights) 8-bit codes."""
    for module in packed(context.view):
        for role, codes in (("absmax", ("U8",)), ("nested_absmax", ())):
            leaf = module.parts.get(role)
            if leaf is not None and leaf.dtype and leaf.dtype not in (*_FLOATS, *codes):
                yield hit_of(context, module, {"role": role, "dtype": leaf.dtype}, f"weight.{role}")


def lengths(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield companions whose length is not what the state asks for; ``roles`` says which ones to judge."""
    wanted = str(params["roles"]).split()
    for module in packed(context.view):
        for role, (expected, formula) in _expected_lengths(module).items():
            leaf = module.parts.get(role)
            if leaf is None or not module.known or role not in wanted or prod(leaf.shape) == expected:
                continue
            if role == "absmax" and not _weight_agrees(module):
                continue  # the weight contradicts the state as well: that is told by `sizes`
            facts: dict[str, Fact] = {
                "role": role,
                "expected": expected,
                "got": prod(leaf.shape),
                "formula": formula,
                "padded": prod(leaf.shape) > expected > 0 and prod(leaf.shape) % expected > 0,
            }
            yield hit_of(context, module, facts, f"weight.{role}")


def _expected_lengths(module: Packed) -> Mapping[str, tuple[int, str]]:
    """Return role → (length, how it comes about) where it can be told."""
    known = {"quant_map": (16, "4 bits"), "nested_quant_map": (256, "8 bits")}
    state, elements, absmax = module.state, module.elements, module.parts.get("absmax")
    block = state.blocksize if state else None
    if elements is not None and isinstance(block, int) and block > 0:
        known["absmax"] = (-(-elements // block), f"{elements} weights, blocksize {block}")
    block = state.nested_blocksize if state else None
    if absmax is not None and isinstance(block, int) and block > 0:
        scales_ = prod(absmax.shape)
        known["nested_absmax"] = (-(-scales_ // block), f"{scales_} scales, nested_blocksize {block}")
    return known


def _weight_bytes(module: Packed) -> int | None:
    weight = module.parts.get("weight")
    if weight is None or weight.dtype not in _BYTES:
        return None
    return prod(weight.shape) * _BYTES[weight.dtype]


def _weight_agrees(module: Packed) -> bool:
    """Whether the packed weight has the bytes that the state's shape takes (unknown counts as yes)."""
    held, elements = _weight_bytes(module), module.elements
    return held is None or elements is None or held == (elements + 1) // 2


def _blocks_agree(module: Packed) -> bool:
    """Whether absmax has as many blocks as the packed weight itself, whatever the state says."""
    held, absmax, state = _weight_bytes(module), module.parts.get("absmax"), module.state
    block = state.blocksize if state else None
    if held is None or absmax is None or not isinstance(block, int) or block <= 0:
        return False
    return prod(absmax.shape) == -(-2 * held // block)


def sizes(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights whose bytes contradict the state's shape.

    ``case`` is what stands alone against the others: ``dense`` a float weight of the full shape beside its
    companions, ``state`` a shape that neither weight nor absmax agree with, ``weight`` the rest.
    """
    for module in packed(context.view):
        elements, weight, state = module.elements, module.parts.get("weight"), module.state
        if weight is None or elements is None or state is None or not module.known or _weight_agrees(module):
            continue
        if weight.shape == state.shape and weight.dtype in _FLOATS:
            case = "dense"
        else:
            case = "state" if _blocks_agree(module) else "weight"
        if case == params["case"]:
            held = _weight_bytes(module)
            facts: dict[str, Fact] = {"expected": (elements + 1) // 2, "got": held, "shape": state.shape}
            yield hit_of(context, module, facts | {"dtype": weight.dtype}, "weight")


def shape(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield states whose shape is not the one config.json leads to; ``swapped`` when only the order is wrong,
    ``computes`` when its whole feed-forward block has the same other width.
    """
    for module in packed(context.view):
        stated = module.state.shape if module.state else None
        expected = expected_shape(context, module.signature.template)
        if stated is None or expected is None or stated == expected or not _weight_agrees(module):
            continue
        swapped = stated == expected[::-1]
        computes = differs_in_width_only(context, module.signature.template)
        facts: dict[str, Fact] = {
            "got": stated,
            "expected": expected,
            "swapped": swapped,
            "computes": computes,
        }
        yield hit_of(context, module, facts, leaf_name("quant_state", module.blob))


def storage(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield packed weights with a float dtype under a config that says they are bytes."""
    declared = registry.as_scheme(context.ckpt, "bnb-4bit")
    if declared is None or declared.block.get("bnb_4bit_quant_storage", "uint8") not in ("uint8", None):
        return
    for module in packed(context.view):
        weight = module.parts.get("weight")
        if weight is not None and weight.dtype in _FLOATS and _weight_agrees(module):
            yield hit_of(context, module, {"dtype": weight.dtype}, "weight")


def storage_declared(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a ``bnb_4bit_quant_storage`` other than uint8; ``known`` says whether torch has such a storage dtype."""
    for declared in declarations(context.ckpt):
        name = declared.block.get("bnb_4bit_quant_storage")
        if (
            registry.declares(declared, "bnb-4bit", context.rulebook)
            and isinstance(name, str)
            and _asks_4bit(declared)
        ):
            known = name in ("float16", "float32", "int8", "float64", "bfloat16")
            if name != "uint8" and known is params["known"]:
                at = Location(declared.file, f"{declared.pointer}/bnb_4bit_quant_storage")
                yield Hit({"storage": name[:40]}, (at,))


def _asks_4bit(declared: Declared) -> bool:
    return declared.block.get("load_in_4bit") is True


def hit_of(context: Context, module: Packed, facts: Mapping[str, Fact], leaf: str) -> Hit:
    """Return the hit for one signature, placed at its ``leaf``."""
    signature = module.signature
    return Hit(dict(facts), context.view.locate(signature, leaf), signature.template, signature.count)
