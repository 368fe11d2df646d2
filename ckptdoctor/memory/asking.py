"""From a source and a target to what this room needs: the parsed checkpoint and the loader's reading of it."""

from __future__ import annotations

from typing import NamedTuple

from ..checkpoint import load
from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading
from ..loaders.reading import read
from ..model import Target
from ..ruledata import Rulebook
from ..sources.base import Source


class Subject(NamedTuple):
    """One checkpoint as one loader reads it."""

    ckpt: Checkpoint
    reading: Reading


def ask(source: Source, target: Target, rulebook: Rulebook, *, metadata_only: bool = False) -> Subject:
    """Return the checkpoint behind ``source`` and how ``target`` reads it. Raises OSError where it cannot be read."""
    ckpt = load(source, rulebook, metadata_only=metadata_only)
    return Subject(ckpt, read(ckpt, target))
