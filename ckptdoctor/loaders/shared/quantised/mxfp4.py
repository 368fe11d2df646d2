"""The experts of gpt-oss in MXFP4: ``*_blocks`` and ``*_scales``, which only mean something together."""

from __future__ import annotations

from collections.abc import Callable

from ....checkpoint.nouns import Signature, View
from ....model import Facts, Location, Outcome
from ...base import Event
from ..modules import family
from ..precision import Held

STEMS = ("gate_up_proj", "down_proj")


def read(
    view: View, dtype: str, missing: Callable[[bool], Outcome], misshapen: Outcome
) -> tuple[Held, list[Event]]:
    """Return how modules are held and which halves lack the other; ``missing`` is asked whether both are gone."""
    held: Held = {}
    events: list[Event] = []
    for index, signature in enumerate(view.signatures):
        if signature.modules:
            dense = family(signature.stored.scheme) == "dense"
            held[index] = {(dtype if dense and dtype else signature.stored.scheme): signature.modules}
            events += _lacks(view, signature, missing, misshapen)
    return held, events


def _lacks(
    view: View, signature: Signature, missing: Callable[[bool], Outcome], misshapen: Outcome
) -> list[Event]:
    if not any(signature.leaf(f"{stem}{end}") for stem in STEMS for end in ("_blocks", "_scales")):
        return []
    found = []
    for stem in STEMS:
        blocks, scales = signature.leaf(f"{stem}_blocks"), signature.leaf(f"{stem}_scales")
        for leaf, other in ((f"{stem}_blocks", scales), (f"{stem}_scales", blocks)):
            if signature.leaf(leaf) is None and not signature.leaf(stem):
                outcome = missing(other is None)
                found.append(
                    Event(
                        "part-missing",
                        outcome,
                        {"leaf": leaf},
                        _at(view, signature, leaf),
                        signature.template,
                        signature.count,
                    )
                )
        if blocks and scales and blocks.shape[:-1] != scales.shape:
            facts: Facts = {"leaf": f"{stem}_scales", "expected": blocks.shape[:-1], "got": scales.shape}
            at = _at(view, signature, f"{stem}_scales")
            found.append(Event("part-shape", misshapen, facts, at, signature.template, signature.count))
    return found


def _at(view: View, signature: Signature, leaf: str) -> tuple[Location, ...]:
    return tuple(
        Location(view.owner.get(f"{m}.{leaf}", ""), tensor=f"{m}.{leaf}") for m in signature.modules[:100]
    )
