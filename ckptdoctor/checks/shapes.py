"""What checks of several families ask about shapes."""

from __future__ import annotations

from ..checkpoint.nouns import Signature
from ..expected.blueprint import starred
from ..loaders.shared.modules import architecture
from .base import Context


def expected_shape(context: Context, template: str) -> tuple[int, ...] | None:
    """Return the one shape config.json gives the weight of ``template``, None when it gives none or several."""
    known = architecture(context.ckpt, context.view).expected
    if known is None:
        return None
    for name in (f"{template}.weight", f"{known.prefix}.{template}.weight"):
        shapes = {entry.shape for entry in known.entries.get(name, ()) if entry.total}  # () of no tensor
        if len(shapes) == 1:
            return next(iter(shapes))
    return None


def is_asked_for(context: Context, signature: Signature) -> bool:
    """Whether the architecture has one of these modules, by its own name (unknown counts as yes)."""
    known = architecture(context.ckpt, context.view).expected
    if known is None:
        return True
    entries = known.entries.get(f"{signature.template}.weight", ())
    if not entries:
        prefix = f"{known.prefix}." if known.prefix else ""
        spellings = (f"{prefix}{signature.template}", signature.template.removeprefix(prefix))
        asked = any(f"{name}.weight" in known.entries for name in spellings)
        return asked and not any(
            name in context.view.templates for name in spellings if name != signature.template
        )
    indices = {starred(module)[1] for module in signature.modules}
    return any(
        all(number in choices for number, choices in zip(index, entry.indices, strict=False))
        for entry in entries
        for index in indices
    )


def is_spelled_otherwise(context: Context, signature: Signature, leaf: str) -> bool:
    """Whether ``leaf`` lies beside a module of the same name with the base model's prefix less, or once more."""
    known = architecture(context.ckpt, context.view).expected
    if known is None or not known.prefix or not signature.modules:
        return False
    module, prefix = signature.modules[0], f"{known.prefix}."
    spellings = {f"{prefix}{module}", module.removeprefix(prefix)} - {module}
    return any(f"{name}.{leaf}" in context.view.owner for name in spellings)


_FEED_FORWARD = {"gate_proj": 0, "up_proj": 0, "down_proj": 1}
"""The layers of a feed-forward block, with the dimension of their weights that is its inner width."""


def differs_in_width_only(context: Context, template: str) -> bool:
    """Whether all layers of this feed-forward block share one inner width, just not the one in config.json.

    Such a block computes: nothing outside of it sees its width.
    """
    parent, _, last = template.rpartition(".")
    if last not in _FEED_FORWARD:
        return False
    widths = set()
    for name, inner in _FEED_FORWARD.items():
        expected = expected_shape(context, f"{parent}.{name}")
        stored = context.view.templates.get(f"{parent}.{name}", ())
        if not stored:
            return False
        for signature in stored:
            shape = _logical_shape(signature)
            if (
                expected is None
                or shape is None
                or len(shape) != 2
                or shape[1 - inner] != expected[1 - inner]
            ):
                return False
            widths.add(shape[inner])
    return len(widths) == 1


def _logical_shape(signature: Signature) -> tuple[int, ...] | None:
    if signature.state is not None:
        return signature.state.shape
    weight = signature.leaf("weight")
    return weight.shape if weight is not None else None
