"""Skip lists that say what the tensors say, in every dialect that reads ``llm_int8_skip_modules``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .. import ruledata
from ..checkpoint.nouns import Checkpoint, Signature, View
from ..loaders.shared import facts, skips
from ..loaders.shared.modules import ROUTERS, Architecture, architecture, family, is_convertible, kind
from ..loaders.vllm.model import fused_name

_HEAD = "lm_head"
_MOST_TRIED = 500_000
"""Entries times modules that are tried: about a second of regular expressions."""
_LONGEST = 5_000


def skip_list(ckpt: Checkpoint, view: View, listed: object) -> list[str] | None:
    """Return ``listed`` made right: no entry for a quantised module, one for every dense one; None for the default.

    Entries that are right or match nothing stay as they are. A fused name of vLLM is added only where every part of
    the group is dense; where some are, vLLM cannot be told (https://github.com/vllm-project/vllm/issues/10590).
    """
    known = architecture(ckpt, view)
    data = ruledata.load().loaders["vllm"]
    quantised = [m for s in view.signatures if family(s.stored.scheme).startswith("bnb-") for m in s.modules]
    dense = list(_dense(view, known))
    old = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else None
    if len(old or ()) * (len(quantised) + len(dense)) > _MOST_TRIED or len(dense) > _LONGEST:
        return old  # a list that somebody has to look at
    entries = [] if old is None else [entry for entry in old if not _hits(entry, quantised, data)]
    head_is_dense = not any(module.rpartition(".")[2] == _HEAD for module in quantised)
    if head_is_dense and not skips.transformers5(entries)(_HEAD):
        entries.append(_HEAD)
    told = set(_named(dense, entries, skips.transformers5)) & set(_named(dense, entries, skips.transformers4))
    entries += [module for module in dense if module not in told]
    for name in _fused(view, known, quantised, data):
        if not skips.vllm_bnb(entries)(name):
            entries.append(name)
    if old is None and entries == [_HEAD]:
        return None  # what loaders leave out without being told
    return entries


def _named(modules: list[str], entries: list[str], match: Callable[[list[str]], skips.Test]) -> Iterator[str]:
    """Yield the modules that some entry names."""
    return filter(match(entries), modules)


def _hits(entry: str, quantised: list[str], data: Mapping[str, object]) -> bool:
    """Whether some loader would leave out a quantised module because of ``entry``."""
    five, four, vllm = skips.transformers5([entry]), skips.transformers4([entry]), skips.vllm_bnb([entry])
    return any(five(module) or four(module) or vllm(fused_name(module, data)) for module in quantised)


def _dense(view: View, known: Architecture) -> Iterator[str]:
    """Yield the 16-bit modules that transformers would quantise."""
    for signature in view.signatures:
        if family(signature.stored.scheme) == "dense" and is_convertible(signature, known):
            yield from signature.modules


def _fused(
    view: View, known: Architecture, quantised: list[str], data: Mapping[str, object]
) -> Iterator[str]:
    """Yield vLLM's own names of 16-bit modules that it would quantise, no part of which is quantised."""
    taken = {fused_name(module, data) for module in quantised}
    groups = {name for name, _ in facts.groups(data)}
    names: dict[str, None] = {}
    for signature in view.signatures:
        if family(signature.stored.scheme) == "dense" and _is_linear(signature, known):
            names |= dict.fromkeys(fused_name(module, data) for module in signature.modules)
    for name in names:
        fused = name.rpartition(".")[2] in groups
        if name not in taken and (fused or name.rpartition(".")[2] in ROUTERS):
            yield name


def _is_linear(signature: Signature, known: Architecture) -> bool:
    what = kind(signature, known)
    return what == "linear" or (what != "expert" and signature.template.rpartition(".")[2] in ROUTERS)
