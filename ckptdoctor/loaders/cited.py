"""Loaders of which only public reports are known: SGLang, TGI and llama.cpp's converter.

There is no model of what they do, so the verdict is ``unknown``, except where a card has a row for the loader that
cites a thread. The events are what such rows hang on; none of them claims an outcome by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import View
from ..expected.comparison import Mismatch, Missing
from ..model import Location, Outcome
from .base import Event, Loader, Plan, Reading, Run
from .shared.completeness import tensor_events
from .shared.method import Completeness
from .shared.modules import all_readable, architecture, family


class Cited(Loader):
    """A loader that only cards know, row by row."""

    def plan(self, run: Run) -> Plan:
        """Take every file as read, and abstain."""
        why = f"what {run.target.loader} does is not modelled: only reported failures are known"
        return Plan((), frozenset(run.ckpt.entries), unknown=why)

    def read(self, run: Run) -> Reading:
        """Say what is missing, in excess or quantised, without an outcome."""
        readable = all_readable(run.ckpt, run.view)
        known = architecture(run.ckpt, run.view)
        events = [
            *(tensor_events(run.view, known, _Unknown()) if readable else ()),
            *(_quantised(run.view) if run.data.get("takes") == "plain weights" else ()),
        ]
        unknown = [event._replace(outcome="unknown") for event in events]
        return run.reading(unknown)._replace(evidence="source")


class _Unknown(Completeness):
    """Nothing is known of what any difference costs."""

    @property
    def bare(self) -> Outcome:
        return "unknown"

    @property
    def doubled(self) -> Outcome:
        return "unknown"

    def missing(self, row: Missing) -> Outcome:
        return "unknown"

    def unexpected(self, template: str) -> Outcome:
        return "unknown"

    def mismatched(self, row: Mismatch) -> Outcome:
        return "unknown"


def _quantised(view: View) -> Iterator[Event]:
    """Yield the first module of every family of packed weights."""
    named = set()
    for signature in view.signatures:
        stored = family(signature.stored.scheme)
        if not signature.stored.quantized or stored in named:
            continue
        named.add(stored)
        tensor = f"{signature.modules[0]}.{signature.leaves[0].name}"
        at = (Location(view.owner.get(tensor, ""), tensor=tensor),)
        yield Event("quantised-source", "unknown", {"stored": stored}, at, signature.template)


LOADER = Cited()
