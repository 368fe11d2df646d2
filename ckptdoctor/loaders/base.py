"""What a loader model answers: which files are opened, how every signature is read, what happens on the way.

A model is a small simulation in Python (order and matching) over ``rules/loaders/<name>.yaml`` (intervals, methods,
releases, evidence). It says what happens as *events*; a card gives each event its words. One value, `Run`, goes
through all its steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..checkpoint.nouns import Checkpoint, Signature, View
from ..formats import registry
from ..model import Aspect, Evidence, Facts, Location, Outcome, Target
from ..ruledata import Rulebook
from . import facts

Data: TypeAlias = Mapping[str, Any]
"""The content of one ``rules/loaders/<name>.yaml``."""
LoadedAs: TypeAlias = dict[int, dict[str, Sequence[str]]]
"""Index of a signature in its view → scheme id that a loader holds it at in memory → its modules held so."""
Test: TypeAlias = Callable[[str], bool]
"""Of a module name."""
AnyRun = TypeVar("AnyRun", bound="Run")


class Event(NamedTuple):
    """Something the loader does with a part of the checkpoint that its user would want to know."""

    code: str
    """What a card names by ``with: {event: …}``."""
    outcome: Outcome
    facts: Facts = {}
    at: tuple[Location, ...] = ()
    subject: str = ""
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    error: str | None = None
    """The text the loader raises."""
    evidence: Evidence = "source"
    accounts_for: frozenset[str] | None = None
    """See ``Hit.accounts_for``."""


class Plan(NamedTuple):
    """What a loader opens, decided before any weight is read."""

    files: tuple[str, ...]
    """Weight files in the order they are read; empty when there are none to read."""
    files_read: frozenset[str]
    """Every file it opens, JSON included: a defect in any other file has no outcome here."""
    events: tuple[Event, ...] = ()
    method: str = ""
    """Quantisation method it settles on, "" for none."""
    unknown: str = ""
    """Why this model abstains altogether (then every outcome is ``unknown``), else empty."""
    needs: tuple[str, ...] = ()
    """Packages the target lacks for this method, each with what installs it."""


class Reading(NamedTuple):
    """One target's view of one checkpoint."""

    target: Target
    plan: Plan
    loaded_as: Mapping[int, Mapping[str, Sequence[str]]]
    """See `LoadedAs`; a signature that is absent is not loaded or not judged."""
    events: tuple[Event, ...]
    """The plan's events and those of the reading."""
    evidence: Evidence = "source"
    tensor_parallel: tuple[int, ...] | None = None
    """Numbers of devices the loader can split this over, None where that is not known."""
    names: Aspect = Aspect("no", "this loader's model compares none")
    """Whether the stored names were compared with those the class asks for."""
    shapes: Aspect = Aspect("no", "this loader's model compares none")
    keeps_wide_floats: bool = False
    """float32 and float64 stay so where config.json says it; other loaders choose a dtype of their own."""
    rebuilds: bool = False
    """Parameters are those of an engine of its own: layers fused, a vocabulary padded, floats of 16 bits."""


class Run:
    """One target over one checkpoint: what every step of a loader model looks at.

    A loader that derives more from it (the block that declares a quantisation, the test of its skip list) has a
    subclass with cached properties, each derived once and only when a step asks.
    """

    def __init__(self, ckpt: Checkpoint, target: Target, plan: Plan | None = None) -> None:
        self.ckpt = ckpt
        self.target = target
        self.plan = plan if plan is not None else Plan((), frozenset())
        """What was planned; empty until then."""

    @classmethod
    def of(cls: type[AnyRun], run: Run) -> AnyRun:
        """Return ``run`` as a run of this class."""
        return run if isinstance(run, cls) else cls(run.ckpt, run.target, run.plan)

    def planned(self: AnyRun, plan: Plan) -> AnyRun:
        """Return this run with its plan made."""
        return type(self)(self.ckpt, self.target, plan)

    @property
    def rulebook(self) -> Rulebook:
        """What is known beforehand."""
        return self.ckpt.rulebook

    @property
    def loaders(self) -> Mapping[str, Data]:
        """What is known of every loader, by name; one may run inside another."""
        return self.ckpt.rulebook.loaders

    @cached_property
    def data(self) -> Data:
        """What is known of the target's loader."""
        return self.loaders[self.target.loader]

    @cached_property
    def version(self) -> str:
        """The target's version of the loader itself."""
        return self.target.version

    @cached_property
    def view(self) -> View:
        """The tensors of the planned files, of the usual ones where none are planned."""
        return self.ckpt.view(self.plan.files or default_files(self.ckpt))

    def does(self, behaviour: str) -> bool:
        """Whether the loader behaves so at the target's version."""
        return facts.does(self.data, behaviour, self.version)

    def rows(self, table: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a table that hold at the target's version."""
        return facts.rows_at(self.data, table, self.version)

    def reading(
        self,
        events: Sequence[Event],
        loaded_as: Mapping[int, Mapping[str, Sequence[str]]] | None = None,
        unknown: str | None = None,
    ) -> Reading:
        """Return what was read; ``unknown`` replaces the plan's reason to abstain."""
        plan = self.plan if unknown is None else self.plan._replace(unknown=unknown)
        plain = plan.method in ("", "lora") or registry.holds(plan.method, "bnb-4bit", self.rulebook)
        parts = ("loading",) if plain else ("loading", "quantised")
        evidence = facts.evidence(self.data, self.target, *parts)
        return Reading(self.target, plan, loaded_as or {}, tuple(events), evidence)


class SkipList(ABC):
    """How one loader reads ``llm_int8_skip_modules``, for whoever writes such a list."""

    @abstractmethod
    def tests(self, entries: Sequence[str]) -> Sequence[Test]:
        """Return the tests "is this module left alone", one per dialect of the loader, newest first."""

    @abstractmethod
    def own(self, module: str) -> str:
        """Return the loader's own name of a module of the files: what its list is asked about."""

    @abstractmethod
    def unquantised(self, ckpt: Checkpoint, view: View) -> Iterator[str]:
        """Yield the names of 16-bit modules that this loader quantises unless they are listed."""


class Loader(ABC):
    """The model of one loader: ``LOADER`` of the module ``ckptdoctor.loaders.<name>``."""

    name: str

    @abstractmethod
    def plan(self, run: Run) -> Plan:
        """Decide which files are opened and by which method."""

    @abstractmethod
    def read(self, run: Run) -> Reading:
        """Say how every signature of the planned files is read, and what happens on the way."""

    def skip_list(self, data: Data) -> SkipList | None:
        """Return how this loader reads ``llm_int8_skip_modules``, None where it has no way of its own."""
        return None


def default_files(ckpt: Checkpoint) -> tuple[str, ...]:
    """Return the weight files most loaders would read: those of the index, else every safetensors in the root."""
    index = ckpt.index
    if index is not None and index.weight_map:
        named = tuple(name for name in index.files if name in ckpt.shards)
        if named:
            return named
    return tuple(sorted(name for name in ckpt.shards if "/" not in name))


__all__ = [
    "Checkpoint",
    "Data",
    "Event",
    "LoadedAs",
    "Loader",
    "Plan",
    "Reading",
    "Run",
    "Signature",
    "SkipList",
    "View",
    "default_files",
]
