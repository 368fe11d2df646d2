"""Declared against stored quantisation, where no loader model needs to be asked."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Hit, Location, Skip
from .base import Context, Params


def declared_bnb(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if config.json says bitsandbytes and some weights are stored so."""
    block = context.ckpt.config.get("quantization_config")
    if not isinstance(block, dict) or str(block.get("quant_method")).lower() != "bitsandbytes":
        return
    if any(signature.stored.scheme.startswith("bnb-") for signature in context.view.signatures):
        yield Hit({}, (Location("config.json", "/quantization_config"),))
