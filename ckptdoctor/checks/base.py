"""What a check is: a generator of hits over one view of a checkpoint. All of a rule's logic, none of its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.base import Reading
from ..model import Hit, Skip, Target
from ..ruledata import Rulebook


class Need(NamedTuple):
    """A few bytes of tensor data that a check wants to see (fetched once, batched, by the engine)."""

    tensor: str
    max_bytes: int
    file: str = ""
    """Where a name is stored in several files, the one that is meant; else the file the view takes it from."""

    @property
    def key(self) -> str:
        """What ``Context.micro`` calls these bytes: the tensor's name, or file and name."""
        return f"{self.file}\0{self.tensor}" if self.file else self.tensor


class Context(NamedTuple):
    """What a check may look at. It runs once per distinct set of weight files that some target reads."""

    ckpt: Checkpoint
    view: View
    readings: tuple[Reading, ...]
    """Readings of the targets that read exactly this view."""
    micro: Mapping[str, bytes]
    """``Need.key`` → first bytes, for tensors a check asked for and that could be had."""

    @property
    def rulebook(self) -> Rulebook:
        """What is known beforehand."""
        return self.ckpt.rulebook

    @property
    def targets(self) -> tuple[Target, ...]:
        """Targets that read this view."""
        return tuple(reading.target for reading in self.readings)


Params: TypeAlias = Mapping[str, object]
Check: TypeAlias = Callable[[Context, Params], Iterator[Hit | Skip]]
"""A card's ``check: family.name`` is the function ``name`` of ``ckptdoctor/checks/family.py``.
Skip.rule is filled in by the engine (yield ``Skip("", kind, reason)``)."""

FROM_MODELS: set[Check] = set()
"""Checks that tell what the models of the loaders say, with the outcomes."""


def from_models(check: Check) -> Check:
    """Declare that a check tells what the models of the loaders say: ``@from_models``."""
    FROM_MODELS.add(check)
    return check


NEEDS: dict[Check, Callable[[Context, Params], Iterator[Need]]] = {}


def needs(selector: Callable[[Context, Params], Iterator[Need]]) -> Callable[[Check], Check]:
    """Declare the micro-reads of a check: ``@needs(which_tensors)``."""

    def mark(check: Check) -> Check:
        NEEDS[check] = selector
        return check

    return mark
