"""Skip lists that say what the tensors say, in every dialect that reads ``llm_int8_skip_modules``."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ruledata
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
    loaders = [lists for model, data in models(ruledata.load().loaders) if (lists := model.skip_list(data))]
    quantised = [m for s in view.signatures if family(s.stored.scheme).startswith("bnb-") for m in s.modules]
    dense = [list(loader.unquantised(ckpt, view)) for loader in loaders]
    old = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else None
    most = max(map(len, dense), default=0)
    if len(old or ()) * (len(quantised) + most) > _MOST_TRIED or most > _LONGEST:
        return old  # a list that somebody has to look at
    entries = [] if old is None else [entry for entry in old if not _hits(loaders, entry, quantised)]
    head_is_dense = not any(module.rpartition(".")[2] == _HEAD for module in quantised)
    if head_is_dense and not any(test(_HEAD) for loader in loaders for test in loader.tests(entries)):
        entries.append(_HEAD)
    for loader, names in zip(loaders, dense, strict=True):
        tests = loader.tests(entries)
        entries += [name for name in names if not all(test(name) for test in tests)]
    if old is None and entries == [_HEAD]:
        return None  # what loaders leave out without being told
    return entries


def _hits(loaders: Sequence[SkipList], entry: str, quantised: Sequence[str]) -> bool:
    """Whether some loader would leave out a quantised module because of ``entry``."""
    return any(
        test(loader.own(module))
        for loader in loaders
        for test in loader.tests([entry])
        for module in quantised
    )
