"""Bytes of weights on one device, from the headers and from what a loader makes of every module."""

from __future__ import annotations

from collections import Counter

from ..checkpoint.nouns import Checkpoint, Signature, View
from ..loaders.base import Reading
from ..loaders.shared.modules import architecture
from .in_transformers import InTransformers
from .in_vllm import InVllm
from .keeping import Keeper, nameless
from .nouns import Kept, Weights
from .shares import Shares
from .surplus import Surplus


def weights(ckpt: Checkpoint, reading: Reading, *, device: str = "cuda") -> Weights:
    """Return the bytes of weights that one device holds once ``reading``'s loader is done.

    ``device`` is "cuda" or "cpu": transformers dequantises some formats where there is no GPU. Of ``tp`` devices (an
    option of the target) it is the first that is told of; none holds more.
    """
    if not reading.loaded_as:
        return Weights(None, unknown=reading.plan.unknown or "nothing is loaded")
    view = ckpt.view(reading.plan.files)
    known = architecture(ckpt, view, "class" if reading.rebuilds else "type")
    unpacked = (
        ckpt.rulebook.memory()["unpacked_on_cpu"].get(reading.plan.method, ()) if device == "cpu" else ()
    )
    keeper = InVllm(reading, known) if reading.rebuilds else InTransformers(reading, known, unpacked)
    return _summed(view, reading, keeper, Surplus(known.expected, view), Shares.of(ckpt.config, reading))


def _summed(view: View, reading: Reading, keeper: Keeper, surplus: Surplus, shares: Shares) -> Weights:
    bits: Counter[str] = Counter()
    numbers: int | None = 0
    for index, split in reading.loaded_as.items():
        signature = view.signatures[index]
        for scheme, listed in split.items():
            modules = surplus.modules(signature, listed)
            if not modules:
                continue
            kept = keeper.kept(signature, scheme)
            if kept is None:
                return Weights(None, unknown=_why(signature))
            kept = [item for item in kept if not surplus.leaf(signature, item.leaf)]
            one = shares.bits(signature, kept)
            if one is None:
                return Weights(None, unknown=f"how {signature.template} is split over devices is not known")
            bits[scheme or signature.stored.scheme] += one * len(modules)
            numbers = _added(numbers, keeper, signature, kept, len(modules))
    by_scheme = {scheme: count // 8 for scheme, count in bits.items()}
    return Weights(sum(by_scheme.values()), by_scheme, numbers)


def _why(signature: Signature) -> str:
    if nameless(signature):
        return "the weights are not here, only their names are known"
    return f"how {signature.template} is held is not known"


def _added(
    numbers: int | None, keeper: Keeper, signature: Signature, kept: list[Kept], modules: int
) -> int | None:
    """Return ``numbers`` and those of so many modules, None once they are not known."""
    if numbers is None or not kept:
        return numbers
    more = keeper.numbers(signature)
    return None if more is None else numbers + more * modules
