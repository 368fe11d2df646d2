"""Policies: what a team allows beyond what loaders demand. General checks; cards hold the particulars."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path

from ..checkpoint.nouns import Signature
from ..loaders.shared.modules import DENSE
from ..model import MAX_LOCATIONS, Fact, Hit, Location, Skip
from .base import Context, Params

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{unit}B": 1000**power for power, unit in enumerate("kMGT", 1)}
_UNITS |= {f"{unit}iB": 1024**power for power, unit in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?((?:[kMGT]|[KMGT]i)?B|)\Z")


def allowed_schemes(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield every scheme that no pattern of ``allow`` matches, with the modules whose matrices are stored so.

    Vectors (norms, biases) may be as they are: mixed precision keeps them in 32 bits on purpose.
    """
    allow = _texts(params["allow"])
    places: dict[str, list[Location]] = {}
    counts: Counter[str] = Counter()
    for signature in context.view.signatures:
        scheme = signature.stored.scheme
        if not _is_matrix(signature):
            continue
        if not scheme:
            yield Skip("", "abstained", "how some weights are stored cannot be told from their names")
        elif not _matches(scheme, allow):
            places.setdefault(scheme, []).extend(context.view.locate(signature))
            counts[scheme] += signature.count
    for scheme, found in places.items():
        facts: dict[str, Fact] = {"scheme": scheme, "allowed": ", ".join(allow)}
        yield Hit(facts, tuple(found[:MAX_LOCATIONS]), count=counts[scheme])


def file_required(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if no file of the root matches a pattern of ``any`` (upper and lower case count as one)."""
    wanted = _texts(params["any"])
    patterns = [pattern.lower() for pattern in wanted]
    if not any("/" not in name and _matches(name.lower(), patterns) for name in context.ckpt.entries):
        yield Hit({"wanted": " or ".join(wanted)})


def file_forbidden(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if files, at any depth, match a pattern of ``files``."""
    patterns = _texts(params["files"])
    found = [name for name in context.ckpt.entries if _matches(name.rpartition("/")[2], patterns)]
    if found:
        places = tuple(Location(name) for name in found[:MAX_LOCATIONS])
        yield Hit({"forbidden": ", ".join(patterns)}, places, count=len(found))


def name_pattern(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if the directory's name has no ending that ``endings`` lists for the scheme of most weights.

    A scheme that is not listed may be called anything.
    """
    endings = params["endings"]
    sizes: Counter[str] = Counter()
    for signature in context.view.signatures:
        if _is_matrix(signature) and signature.stored.scheme:
            sizes[signature.stored.scheme] += _elements(signature)
    main = min(sizes, key=lambda scheme: (scheme in DENSE, -sizes[scheme]), default="")
    if not isinstance(endings, Mapping) or main not in endings:
        return
    wanted = _texts(endings[main])
    # As typed it may be "." or end in a slash; what the directory is called is meant.
    name = Path(os.path.abspath(context.ckpt.label)).name  # noqa: PTH100  # resolve() would follow links
    if not name.lower().endswith(tuple(ending.lower() for ending in wanted)):
        yield Hit({"scheme": main, "endings": " or ".join(wanted), "name": name[:200]})


def max_file_size(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if files that match ``files`` are larger than ``max`` (bytes, or text such as ``5 GB``, ``4 GiB``)."""
    limit, patterns = size(params["max"]), _texts(params["files"])
    found = [
        name
        for name, stat in context.ckpt.entries.items()
        if stat.size > limit and _matches(name.rpartition("/")[2], patterns)
    ]
    if found:
        places = tuple(Location(name) for name in found[:MAX_LOCATIONS])
        yield Hit({"limit": str(params["max"])}, places, count=len(found))


def size(value: object) -> float:
    """Return a number of bytes. Raises ValueError for what is no size."""
    found = _SIZE.match(str(value))
    if found is None:
        raise ValueError(f"expected bytes or text such as 5 GB or 4 GiB, got {value!r}")
    return float(found[1]) * _UNITS[found[2]]


def _is_matrix(signature: Signature) -> bool:
    return signature.stored.quantized or any(len(leaf.shape) > 1 for leaf in signature.leaves)


def _elements(signature: Signature) -> int:
    return signature.count * sum(prod(leaf.shape) for leaf in signature.leaves)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list. Raises ValueError for anything else."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of texts, got {value!r}")
    return tuple(value)


def _by_scheme(value: object) -> dict[str, tuple[str, ...]]:
    """Return scheme → texts. Raises ValueError for anything else."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"expected scheme: [ending, …], got {value!r}")
    return {str(scheme): _texts(endings) for scheme, endings in value.items()}


PARAMETERS: Mapping[str, Mapping[str, Callable[[object], object]]] = {
    "allowed_schemes": {"allow": _texts},
    "file_required": {"any": _texts},
    "file_forbidden": {"files": _texts},
    "name_pattern": {"endings": _by_scheme},
    "max_file_size": {"files": _texts, "max": size},
}
"""Check → its parameters, all required, and what reads each: a wrong card is refused before anything runs."""
