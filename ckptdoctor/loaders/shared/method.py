"""One strategy per quantisation method: what a loader does with a checkpoint that it takes for one of that method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from ...expected.comparison import Mismatch, Missing
from ...model import Outcome
from ..base import Event, LoadedAs


class Read(NamedTuple):
    """How every module is loaded, what happens, and why the model abstains ("" where it does not)."""

    loaded_as: LoadedAs
    events: list[Event]
    doubt: str = ""


class Completeness(ABC):
    """What a loader does about each difference between the files and what the architecture asks for."""

    @abstractmethod
    def missing(self, row: Missing) -> Outcome:
        """Say what it costs that tensors of one template are not stored."""

    @abstractmethod
    def unexpected(self, template: str) -> Outcome:
        """Say what it costs that tensors are stored that nothing asks for."""

    def surplus(self, template: str) -> Outcome:
        """Say what it costs that tensors of layers beyond those that config.json counts are stored."""
        outcome = self.unexpected(template)
        return "corrupt" if outcome == "ok" else outcome

    @abstractmethod
    def mismatched(self, row: Mismatch) -> Outcome:
        """Say what it costs that plain tensors have another shape than config.json leads to."""

    @property
    def bare(self) -> Outcome:
        """What it costs that names lack the base model's prefix."""
        return "fails"

    @property
    def doubled(self) -> Outcome:
        """What it costs that names have that prefix twice."""
        return "fails"


class Method(Completeness):
    """A loader under one quantisation method, or under none."""

    @abstractmethod
    def read(self) -> Read:
        """Say how every module is loaded and what happens on the way, whole tensors aside."""
