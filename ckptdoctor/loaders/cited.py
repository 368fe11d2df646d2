"""Loaders of which only public reports are known: SGLang, TGI and llama.cpp's converter.

There is no model of what they do, so the verdict is ``unknown``, except where a card has a row for the loader that
cites a thread. The events are what such rows hang on; none of them claims an outcome by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import Checkpoint, View
from ..model import Location, Target
from .base import Event, Plan, Reading
from .shared.completeness import tensor_events
from .shared.modules import all_readable, architecture, family

_CONVERTERS = frozenset({"llama.cpp"})
"""What takes plain numbers only."""


class Cited:
    """A loader that only cards know, row by row."""

    def __init__(self, name: str) -> None:
        self.name = name

    def plan(self, ckpt: Checkpoint, target: Target, data: Mapping[str, object]) -> Plan:
        """Take every file as read, and abstain."""
        why = f"what {self.name} does is not modelled: only reported failures are known"
        return Plan((), frozenset(ckpt.entries), unknown=why)

    def read(
        self, ckpt: Checkpoint, view: View, plan: Plan, target: Target, data: Mapping[str, object]
    ) -> Reading:
        """Say what is missing, in excess or quantised, without an outcome."""
        events = [
            *tensor_events(
                view,
                architecture(ckpt, view),
                lambda row: "unknown",
                of_mismatch=lambda row: "unknown",
                unexpected=lambda template: "unknown",
                doubled="unknown",
                bare="unknown",
                readable=all_readable(ckpt, view),
            ),
            *(_quantised(view) if self.name in _CONVERTERS else ()),
        ]
        told = [event._replace(outcome="unknown") for event in events]
        return Reading(target, plan, {}, tuple(told), "source")


def _quantised(view: View) -> Iterator[Event]:
    """Yield the first module of every family of packed weights."""
    told = set()
    for signature in view.signatures:
        stored = family(signature.stored.scheme)
        if not signature.stored.quantized or stored in told:
            continue
        told.add(stored)
        tensor = f"{signature.modules[0]}.{signature.leaves[0].name}"
        at = (Location(view.owner.get(tensor, ""), tensor=tensor),)
        yield Event("quantised-source", "unknown", {"stored": stored}, at, signature.template)
