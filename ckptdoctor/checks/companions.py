"""Codes and the tensors that explain them: which of the two a module holds without the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.names import join
from ..checkpoint.nouns import Leaf, Signature
from ..formats import registry
from ..formats.declared import preferred
from ..formats.tables import tables
from ..model import Fact, Hit
from ..ruledata import Rulebook
from ..schemes.formats import formats
from .base import Context

_LONE = {"F8_E4M3": "F8", "F8_E5M2": "F8", "F8_E4M3FNUZ": "F8", "I8": "I8", "U8": "U8", "U32": "U32"}
_BESIDE = frozenset(
    ("weight", "bias", "biases", "input_scale", "weight_scale_2", "weight_zero_point", "pre_quant_scale")
)
"""What may be left beside such codes; a name that is none of these may be a scale nobody here knows."""


def is_codes(role: str, rulebook: Rulebook) -> bool:
    """Whether a role of a scheme holds codes."""
    known = tables(rulebook)
    return role in known.codes or any(role == f"*{codes}" for codes, _ in known.stems)


def codes_of(scales: Sequence[str], rulebook: Rulebook) -> Iterator[str]:
    """Yield the leaves whose codes a module's ``scales`` may explain."""
    known = tables(rulebook)
    yield from known.codes
    for codes, ending in known.stems:
        yield from (name.removesuffix(ending) + codes for name in scales if name.endswith(ending))


def codeless(leaves: Sequence[Leaf], rulebook: Rulebook) -> list[str]:
    """Return the companions in a module that holds no codes for them."""
    known = tables(rulebook)
    by_name = {leaf.name: leaf for leaf in leaves}
    if not known.codes.isdisjoint(by_name):
        return []
    found = [name for codes, scales in known.stems for name in _stemless(by_name, codes, scales)]
    if not found:
        lone = (row for row in known.lone_companions if _is_all(by_name, row))
        found = sorted(next(lone, ()))
    return found or sorted(by_name.keys() & known.companions)


def _stemless(leaves: Mapping[str, Leaf], codes: str, scales: str) -> Iterator[str]:
    """Yield the scales of a stem (``gate_up_proj_scales``) whose codes are not there, nor the stem in one piece."""
    for name, leaf in leaves.items():
        if name.endswith(scales) and leaf.dtype == "U8" and len(leaf.shape) >= _BLOCKED:
            stem = name.removesuffix(scales)
            if stem + codes not in leaves and stem not in leaves:
                yield name


_BLOCKED = 2
"""Dimensions that scales of blocks have at least."""


def _is_all(leaves: Mapping[str, Leaf], row: Mapping[str, Sequence[str]]) -> bool:
    """Whether a module has the leaves of ``row`` and no others, in their dtypes."""
    return leaves.keys() == row.keys() and all(
        not dtypes or leaves[name].dtype in dtypes for name, dtypes in row.items()
    )


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
    scales = tables(context.rulebook).scales
    known = {
        kind: scheme for scheme in _schemes_in_sight(context) if (kind := _kind(scheme, context.rulebook))
    }
    for signature, kind in lone:
        if kind in known:
            yield signature, known[kind], scales[known[kind]]


def _kind(scheme: str, rulebook: Rulebook) -> str:
    """Return the kind of codes that a scheme has in a leaf called weight."""
    found = next((format_ for format_ in formats(rulebook) if format_.id == scheme), None)
    dtypes = (found.identify.get("weight") or found.roles["weight"].dtypes) if found else ()
    return next((_LONE[dtype] for dtype in dtypes if dtype in _LONE), "")


def _schemes_in_sight(context: Context) -> Iterator[str]:
    """Yield the schemes in sight, those that are stored last: they count more."""
    declared = preferred(context.ckpt)
    if declared is not None and (scheme := registry.of(declared, context.rulebook).bare(declared)):
        yield scheme
    for signature in context.view.signatures:
        if signature.stored.scheme in tables(context.rulebook).scales:
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
