"""torchao's tensors against the description of them in ``__metadata__``."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from ..checkpoint.names import join
from ..checkpoint.nouns import Signature
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

if TYPE_CHECKING:
    from ..formats.torchao import Description, Entry

_PREFIX = "_weight_"
_TILED = frozenset(("Int8Tensor",))
"""Types with one scale per block of their block_size, as a real loader showed."""


def _modules(context: Context) -> Iterator[tuple[Signature, list[str]]]:
    """Yield signatures of torchao's tensors with the parts that they have."""
    for signature in context.view.signatures:
        parts = [leaf.name for leaf in signature.leaves if leaf.name.startswith(_PREFIX)]
        if f"{_PREFIX}qdata" in parts:
            yield signature, parts


def _described(context: Context) -> Description | None:
    if not any(_modules(context)):
        return None
    from ..formats.torchao import Description, described  # of no use to other checkpoints

    if "checks.torchao" not in context.view.memo:
        context.view.memo["checks.torchao"] = described(context.ckpt, context.view)
    found = context.view.memo["checks.torchao"]
    return found if isinstance(found, Description) else None


def unlisted(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield torchao's weights that ``tensor_names`` leaves out."""
    told = _described(context)
    if told is None:
        return
    for signature, parts in _modules(context):
        gone = [module for module in signature.modules if join(module, "weight") not in told.names]
        if gone:
            tensors = [join(module, parts[0]) for module in gone[:100]]
            at = tuple(Location(context.view.owner.get(name, ""), tensor=name) for name in tensors)
            yield Hit({}, at, signature.template, len(gone))


def entry(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield names of ``tensor_names`` of which the metadata say nothing that can be read."""
    told = _described(context)
    if told is None:
        return
    broken: dict[str, list[str]] = {}
    for name in sorted(told.names):
        if fault := told.entry(name).fault:
            broken.setdefault(fault, []).append(name)
    for fault, names in broken.items():
        at = tuple(Location(context.view.files[-1], note=name) for name in names[:100])
        yield Hit({"fault": fault, "first": names[0]}, at, count=len(names))


def _entries(context: Context) -> Iterator[tuple[Signature, list[str], Entry]]:
    """Yield every signature with each readable entry that some of its modules have."""
    told = _described(context)
    if told is None:
        return
    for signature, stored in _modules(context):
        names = [join(module, "weight") for module in signature.modules]
        for found in dict.fromkeys(told.entry(name) for name in names if name in told.names):
            if not found.fault:
                yield signature, stored, found


def parts(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights of other parts than the metadata name; one that lacks its scale is told by another rule."""
    for signature, stored, found in _entries(context):
        wanted = {_PREFIX + part for part in found.parts}
        told = signature.stored.scheme != "torchao-packed" and wanted - set(stored) == {f"{_PREFIX}scale"}
        if told or wanted == set(stored):
            continue
        facts = {"expected": ", ".join(sorted(wanted)) or "none", "got": ", ".join(sorted(stored))}
        yield Hit(facts, context.view.locate(signature, stored[0]), signature.template, signature.count)


def block(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weights whose scales are not as many as the blocks that the metadata divide them into."""
    for signature, _, found in _entries(context):
        codes, scale = signature.leaf(f"{_PREFIX}qdata"), signature.leaf(f"{_PREFIX}scale")
        if found.type not in _TILED or codes is None or scale is None or len(codes.shape) != len(found.block):
            continue
        blocks = [-(-size // step) for size, step in zip(codes.shape, found.block, strict=True)]
        if prod(blocks) != prod(scale.shape):
            facts: dict[str, Fact] = {
                "block": str(list(found.block)),
                "expected": prod(blocks),
                "got": scale.shape,
            }
            at = context.view.locate(signature, scale.name)
            yield Hit(facts, at, signature.template, signature.count)
