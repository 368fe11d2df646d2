"""What loaders do alike about the files that an index names."""

from __future__ import annotations

from collections.abc import Sequence

from ...checkpoint.nouns import Index
from ...model import Location
from ..base import Event

PICKLED = "only pickled weights, which a check does not open"
NAMELESS = "no weight file is known by name"
"""Why nothing is known of a folder without safetensors."""


def shards_missing(index: Index, names: Sequence[str], error: str) -> Event:
    """Return the refusal of an index that names files which are not there."""
    at = tuple(Location(index.file, note=name) for name in names)
    return Event("shard-missing", "fails", {"shards": len(names)}, at, count=len(names), error=error)
