"""The experts of gpt-oss in MXFP4: ``*_blocks`` and ``*_scales``, which only mean something together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ....checkpoint.nouns import Signature, View
from ....formats.mxfp4 import HALVES, STEMS
from ....model import Facts, Outcome
from ...base import Event
from ..method import Read
from ..precision import cast, loaded_as, places


def read(view: View, dtype: str, missing: Callable[[bool], Outcome], misshapen: Outcome) -> Read:
    """Return how modules are loaded and which halves lack the other; ``missing`` is asked whether both are gone."""
    loaded = loaded_as(view, lambda signature, module: cast(signature, dtype), lambda signature: False)
    events: list[Event] = []
    for signature in view.signatures:
        if any(signature.leaf(f"{stem}{end}") for stem in STEMS for end in HALVES):
            for stem in STEMS:
                events += [
                    *_lacks(view, signature, stem, missing),
                    *_misfits(view, signature, stem, misshapen),
                ]
    return Read(loaded, events)


def _lacks(
    view: View, signature: Signature, stem: str, missing: Callable[[bool], Outcome]
) -> Iterator[Event]:
    """Yield the halves of one matrix that are not there, nor a plain weight in their place."""
    lost = [f"{stem}{end}" for end in HALVES if signature.leaf(f"{stem}{end}") is None]
    for leaf in lost if signature.leaf(stem) is None else ():
        outcome, at = missing(len(lost) > 1), places(view, signature.modules, leaf)
        yield Event("part-missing", outcome, {"leaf": leaf}, at, signature.template, signature.count)


def _misfits(view: View, signature: Signature, stem: str, outcome: Outcome) -> Iterator[Event]:
    """Yield scales of another shape than the blocks they are for."""
    blocks, scales = (signature.leaf(f"{stem}{end}") for end in HALVES)
    if blocks and scales and blocks.shape[:-1] != scales.shape:
        leaf = f"{stem}_scales"
        details: Facts = {"leaf": leaf, "expected": blocks.shape[:-1], "got": scales.shape}
        at = places(view, signature.modules, leaf)
        yield Event("part-shape", outcome, details, at, signature.template, signature.count)
