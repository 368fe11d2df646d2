"""The scheme that the config declares against the one that the tensors are stored in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..formats import registry
from ..formats.declared import preferred
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

_FLAGS = ("load_in_4bit", "load_in_8bit")
"""Keys by which a block asks for bitsandbytes, whatever method it names."""


def differs(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if not a single quantised module is stored in a scheme that the config declares."""
    declared = preferred(context.ckpt)
    if declared is None:
        return
    wanted, name = registry.of(declared, context.rulebook).stores(declared)
    stored: Counter[str] = Counter()
    for signature in context.view.signatures:
        if signature.stored.quantized:
            stored[signature.stored.scheme] += signature.count
    if not wanted or not stored or "" in stored or not wanted.isdisjoint(stored):
        return
    if any(declared.block.get(flag) for flag in _FLAGS) and any(
        scheme.startswith("bnb-") for scheme in stored
    ):
        return  # transformers goes by the flag before the method
    scheme, count = stored.most_common(1)[0]
    facts: dict[str, Fact] = {"declared": name, "stored": scheme, "pair": f"{scheme} under {name}"}
    first = next(s for s in context.view.signatures if s.stored.scheme == scheme)
    at = (Location(declared.file, declared.pointer), *context.view.locate(first, limit=99))
    yield Hit(facts, at, "", count)


def activations(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that lack the scale of their activations, or have one, against the declared algorithm.

    Of formats that do not say it so the models of the loaders tell.
    """
    declared = preferred(context.ckpt)
    if declared is None:
        return
    format_ = registry.of(declared, context.rulebook)
    asked = format_.input_scale(declared)
    if asked is None:
        return
    told = format_.said(declared)
    scaled = format_.input_scaled
    for signature in context.view.signatures:
        if signature.stored.scheme not in scaled or not signature.leaves[0].dtype:
            continue
        has = signature.leaf("input_scale") is not None
        if has is not asked:
            facts: dict[str, Fact] = {"algorithm": told.format, "what": "an" if has else "no"}
            at = (
                *context.view.locate(signature, "weight", limit=99),
                Location(declared.file, declared.pointer),
            )
            yield Hit(facts, at, signature.template, signature.count)
