"""GPUs by the names that people type, with their memory (``rules/memory.yaml``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from ..ruledata import Rulebook

GIB = 1 << 30
_SIZE = re.compile(r"(\d{1,4}(?:\.\d{1,2})?)\s*(?:g|gb|gib)?\Z", re.IGNORECASE)


class Gpu(NamedTuple):
    """One kind of GPU."""

    name: str
    gib: float
    """Memory in GiB."""
    consumer: bool = False
    """Made for desktops, not for racks."""

    @property
    def memory(self) -> int:
        """Memory in bytes."""
        return int(self.gib * GIB)


class UnknownGpu(LookupError):
    """A name that is no GPU of the table and no size; the message says which are close."""


def gpus(rulebook: Rulebook) -> tuple[Gpu, ...]:
    """Return every GPU of the table, by memory."""
    rows = rulebook.memory()["gpus"]
    found = (Gpu(row["name"], float(row["gib"]), row.get("consumer", False)) for row in rows)
    return tuple(sorted(found, key=lambda gpu: gpu.gib))


def gpu(text: str, rulebook: Rulebook) -> Gpu:
    """Return the GPU called ``text``, or one of so much memory (``24GB``). Raises UnknownGpu.

    Makers sell gigabytes that are counted in powers of two: 24GB is 24 GiB.
    """
    size = _SIZE.match(text.strip())
    if size and float(size[1]) > 0:
        return Gpu(f"{size[1]} GiB", float(size[1]))
    names = _names(rulebook)
    found = names.get(_plain(text))
    if found is None:
        raise UnknownGpu(_nearest(text, list(names.values())))
    return found


def _names(rulebook: Rulebook) -> dict[str, Gpu]:
    rows = rulebook.memory()["gpus"]
    by_name = {item.name: item for item in gpus(rulebook)}
    return {
        _plain(spelled): by_name[row["name"]]
        for row in rows
        for spelled in (row["name"], *row.get("aka", ()))
    }


def _plain(text: str) -> str:
    """Return ``text`` without what people spell differently: case, blanks, dashes, the maker."""
    return re.sub(r"[\W_]|nvidia|geforce|tesla", "", text.lower())


def _nearest(text: str, known: Sequence[Gpu]) -> str:
    plain = {_plain(item.name): item.name for item in known}
    close = get_close_matches(_plain(text), plain, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(plain[name] for name in close)}?"
    return f"known are {', '.join(dict.fromkeys(item.name for item in known))}, or a size such as 24GB"
