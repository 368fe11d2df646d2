"""How much of one checkpoint is judged at most, so that no input runs away with time or memory.

The largest real checkpoints stay far below: DeepSeek-V3 has 91,991 tensors of 19 kinds in 163 headers of 12 MB, the
largest single headers hold some 10^5 tensors, an index of 208,215 tensors has 20 MB. What lies beyond a limit is not
judged, and a defect says so (`beyond`), with the limit and what was found.
"""

from __future__ import annotations

from ..model import Location
from .nouns import Defect

MAX_TENSORS = 1_250_000
"""Objects in one header: more entries than the longest header that readers accept holds in practice."""
MAX_NUMBERS = 8_000_000
"""Commas in one header, which bound the numbers in its shapes and offsets (a tensor of rank 2 has six)."""
MAX_ODD_MEMBERS = 600_000
"""Members, or lists and objects, in one header that only the slow decoder can read (escapes in names, faults)."""
MAX_HEADERS = 256_000_000
"""Bytes of all headers of one checkpoint."""
MAX_NAME = 1_000
"""Characters in a tensor's name (the longest seen has 175)."""
MAX_KINDS = 20_000
"""Kinds of tensor: names that differ in more than their numbers, with another dtype or shape counting as another."""
MAX_KIND_CHARACTERS = 4_000_000
"""Characters in the names of those kinds."""
MAX_SHARDS = 10_000
"""Weight files of one checkpoint that are opened."""
MAX_DOCUMENT = 64_000_000
"""Bytes of one JSON file."""
MAX_DOCUMENTS = 128_000_000
"""Bytes of all JSON files that are parsed."""
MAX_VALUES = 2_000_000
"""Values in one JSON file that is no index."""
MAX_INDEX_VALUES = 5_000_000
"""Values in one shard index."""


def beyond(file: str, what: str, got: int, limit: int) -> Defect:
    """Return the defect of a file of which ``what`` goes beyond its limit."""
    return Defect("beyond-limit", Location(file), {"what": what, "got": got, "limit": limit})
