"""Skip lists that say what the tensors say, in every dialect that reads ``llm_int8_skip_modules``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.base import SkipList
from ..loaders.registry import models
from ..loaders.shared.modules import family

_HEAD = "lm_head"
_MOST_TRIED = 500_000
"""Entries times modules that are tried: about a second of regular expressions."""
_LONGEST = 5_000


def skip_list(ckpt: Checkpoint, view: View, listed: object) -> list[str] | None:
    """Return ``listed`` made right: no entry for a quantised module, one for every dense one; None for the default.

    Entries that are right or match nothing stay as they are. Each loader that reads the list says by which names it
    wants to be told what is 16-bit.
    """
    readers = list(_readers(ckpt))
    quantised = [m for s in view.signatures if family(s.stored.scheme).startswith("bnb-") for m in s.modules]
    dense = [list(reader.unquantised(ckpt, view)) for reader in readers]
    old = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else None
    most = max(map(len, dense), default=0)
    if len(old or ()) * (len(quantised) + most) > _MOST_TRIED or most > _LONGEST:
        return old  # a list that somebody has to look at
    entries = _right(readers, old or [], quantised, dense)
    # without a list loaders leave out the head, and need not be told
    return None if old is None and entries == [_HEAD] else entries


def _right(
    readers: Sequence[SkipList], old: list[str], quantised: list[str], dense: list[list[str]]
) -> list[str]:
    """Return the entries of ``old`` that hit nothing quantised, and one for everything 16-bit that none names."""
    entries = [entry for entry in old if not _hits(readers, entry, quantised)]
    if _lacks_head(readers, entries, quantised):
        entries.append(_HEAD)
    for reader, names in zip(readers, dense, strict=True):
        tests = reader.tests(entries)
        entries += [name for name in names if not all(test(name) for test in tests)]
    return entries


def _readers(ckpt: Checkpoint) -> Iterator[SkipList]:
    """Yield the loaders that read the list in a way of their own."""
    for model, data in models(ckpt.rulebook.loaders):
        reader = model.skip_list(data)
        if reader is not None:
            yield reader


def _lacks_head(readers: Sequence[SkipList], entries: Sequence[str], quantised: Sequence[str]) -> bool:
    """Whether the output embedding is 16-bit, and named by no entry."""
    if any(module.rpartition(".")[2] == _HEAD for module in quantised):
        return False
    return not any(test(_HEAD) for reader in readers for test in reader.tests(entries))


def _hits(readers: Sequence[SkipList], entry: str, quantised: Sequence[str]) -> bool:
    """Whether some loader would leave out a quantised module because of ``entry``."""
    return any(
        test(reader.own(module))
        for reader in readers
        for test in reader.tests([entry])
        for module in quantised
    )
