"""What checks of several families ask about shapes."""

from __future__ import annotations

from ..loaders.modules import architecture
from .base import Context


def expected_shape(context: Context, template: str) -> tuple[int, ...] | None:
    """Return the one shape config.json gives the weight of ``template``, None when it gives none or several."""
    known = architecture(context.ckpt, context.view).expected
    if known is None:
        return None
    for name in (f"{template}.weight", f"{known.prefix}.{template}.weight"):
        shapes = {entry.shape for entry in known.entries.get(name, ())}
        if len(shapes) == 1:
            return next(iter(shapes))
    return None
