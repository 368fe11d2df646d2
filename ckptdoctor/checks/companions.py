"""Codes and the tensors that explain them: which of the two a module holds without the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.declared_scheme import said
from ..checkpoint.names import join
from ..checkpoint.nouns import Leaf, Signature
from ..model import Fact, Hit
from .base import Context

CODES = ("weight", "qweight", "weight_packed", "_weight_qdata", "W_q", "weight._data")
"""Roles that hold the codes; all the others explain them."""
_OTHER_CODES = ("indices", "codes", "dense_weights", "weight._data._data")
"""Codes of schemes that are not judged, beside which a scale may have a name of others."""
BLOCKS, SCALES = "_blocks", "_scales"
"""Endings of gpt-oss, whose experts are one module with several stems."""

_COMPANIONS = frozenset(
    (
        *("weight_scale", "weight_scale_inv", "weight_scale_2", "weight_global_scale", "weight_zero_point"),
        *("weight_shape", "qzeros", "g_idx", "_weight_scale", "_weight_zero_point"),
    )
)
"""Names that no writer gives to anything but a companion of codes."""

_LONE = {"F8_E4M3": "F8", "F8_E5M2": "F8", "F8_E4M3FNUZ": "F8", "I8": "I8", "U8": "U8", "U32": "U32"}
_BESIDE = frozenset(
    ("weight", "bias", "biases", "input_scale", "weight_scale_2", "weight_zero_point", "pre_quant_scale")
)
"""What may be left beside such codes; a name that is none of these may be a scale nobody here knows."""
_SCALED = {
    "fp8": ("F8", "weight_scale"),
    "mxfp8": ("F8", "weight_scale"),
    "fp8-block": ("F8", "weight_scale_inv"),
    "fp8-block-native": ("F8", "scale"),
    "int8": ("I8", "weight_scale"),
    "nvfp4-modelopt": ("U8", "weight_scale"),
    "mx-plain": ("U8", "weight_scale"),
    "int4-modelopt": ("U8", "weight_scale"),
    "mlx-affine": ("U32", "scales"),
    "mlx-fp": ("U32", "scales"),
}
"""Schemes whose codes lie in a tensor called weight: without their scale nothing but the dtype is left of them."""


def is_codes(role: str) -> bool:
    """Whether a role holds codes."""
    return role in CODES or role == "*" + BLOCKS


def codeless(leaves: Sequence[Leaf]) -> list[str]:
    """Return the companions in a module that holds no codes for them."""
    by_name = {leaf.name: leaf for leaf in leaves}
    if any(name in by_name for name in (*CODES, *_OTHER_CODES)):
        return []
    stems = [name.removesuffix(SCALES) for name, leaf in by_name.items() if _are_block_scales(leaf)]
    found = [stem + SCALES for stem in stems if stem + BLOCKS not in by_name and stem not in by_name]
    if not found and by_name.keys() == {"scales", "biases"}:  # MLX, affine
        found = ["biases", "scales"]
    elif not found and by_name.keys() == {"scales"} and by_name["scales"].dtype == "U8":  # MLX, floats
        found = ["scales"]
    return found or sorted(by_name.keys() & _COMPANIONS)


def _are_block_scales(leaf: Leaf) -> bool:
    return leaf.name.endswith(SCALES) and leaf.dtype == "U8" and len(leaf.shape) >= 2


def unscaled(context: Context) -> Iterator[tuple[Signature, str, str]]:
    """Yield modules of lone codes, the scheme they are in and the scale they lack.

    The scheme is that of other modules of the same kind of codes, else the one declared; without either the codes may
    be all there is, for some tools cast weights to FP8 without a scale.
    """
    lone = [
        (signature, _LONE[leaf.dtype])
        for signature in context.view.signatures
        if not signature.stored.quantized
        and (leaf := signature.leaf("weight")) is not None
        and leaf.dtype in _LONE
        and len(leaf.shape) >= 2
        and all(other.name in _BESIDE for other in signature.leaves)
    ]
    if not lone:
        return
    known = {_SCALED[scheme][0]: scheme for scheme in _told(context)}
    for signature, kind in lone:
        if kind in known:
            yield signature, known[kind], _SCALED[known[kind]][1]


def _told(context: Context) -> Iterator[str]:
    """Yield the schemes in sight, those that are stored last: they count more."""
    for declared in context.ckpt.declared():
        told = said(declared)
        if declared.method == "fp8":
            yield "fp8" if told.block is None else "fp8-block"
        elif declared.method == "compressed-tensors" and not told.varies:
            yield from {"float-quantized": ("fp8",), "int-quantized": ("int8",)}.get(told.format, ())
        elif told.format == "FP8":
            yield "fp8"
        break
    for signature in context.view.signatures:
        if signature.stored.scheme in _SCALED:
            yield signature.stored.scheme


def elsewhere(context: Context, signature: Signature, role: str) -> bool:
    """Whether an index puts the tensor into a file that is not read here: then the file is what is missing."""
    index = context.ckpt.index
    file = index.weight_map.get(join(signature.modules[0], role)) if index and signature.modules else None
    return file is not None and file not in context.view.files


def hit(context: Context, signature: Signature, facts: Mapping[str, Fact], role: str | None = None) -> Hit:
    """Return a hit on every module of a signature, at ``role`` where they have it."""
    leaf = role if role is not None and signature.leaf(role) else None
    return Hit(dict(facts), context.view.locate(signature, leaf), signature.template, signature.count)
