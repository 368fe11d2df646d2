"""The command that serves a checkpoint as it was reckoned with."""

from __future__ import annotations

from ..loaders.base import Data
from ..model import Target
from .cache import AUTO
from .fitting import Fit


def serves(data: Data) -> bool:
    """Whether a loader is a server that splits a model over devices."""
    return "tp" in data.get("options", {})


def command(path: str, target: Target, found: Fit, own_context: int | None) -> tuple[str, ...]:
    """Return the words of the command; only what differs from the server's own defaults is said."""
    words = [target.loader, "serve", path]
    if found.devices > 1:
        words += ["--tensor-parallel-size", str(found.devices)]
    context = found.context
    if found.fits is False and found.largest_context:
        context = found.largest_context
    if context and context != own_context:
        words += ["--max-model-len", str(context)]
    if found.demand.batch > 1:
        words += ["--max-num-seqs", str(found.demand.batch)]
    if found.demand.kv_dtype != AUTO:
        words += ["--kv-cache-dtype", found.demand.kv_dtype]
    return tuple(words)
