"""One tensor name in several files: which copy a loader keeps, and whether it matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint.names import Templates, join, split
from ..checkpoint.nouns import Checkpoint, Shard
from ..model import MAX_LOCATIONS, Hit, Location, Skip
from .base import Context, Need, Params, needs
from .shards import difference

SINGLE = "model.safetensors"
_SAMPLE = 512
"""Bytes of each copy that are compared: weights of two training runs differ within the first few."""
_MAX_SAMPLED = 1024
"""Tensors sampled, in two copies each: 1 MiB in all."""


def _copies(context: Context) -> dict[str, tuple[str, ...]]:
    """Return the names stored in more than one file of the view, with these files in reading order (once a view)."""
    memo = context.view.memo
    if "copies" not in memo:
        memo["copies"] = _find(
            [context.ckpt.shards[f] for f in context.view.files if f in context.ckpt.shards]
        )
    found = memo["copies"]
    return found if isinstance(found, dict) else {}


def _settled(context: Context) -> bool:
    """Whether the index says the last word: each file it names holds just what it lists, and no other is read."""
    index, found = context.ckpt.index, difference(context)
    if index is None or found is None or found.elsewhere or found.unlisted:
        return False
    return index.by_file.keys() >= set(context.view.files)


def _shards(context: Context) -> list[Shard]:
    return [context.ckpt.shards[file] for file in context.view.files if file in context.ckpt.shards]


def _find(shards: list[Shard]) -> dict[str, tuple[str, ...]]:
    if len(shards) < 2 or len(set().union(*(s.tensors for s in shards))) == sum(
        len(s.tensors) for s in shards
    ):
        return {}
    places: dict[str, list[str]] = {}
    for shard in shards:
        for name in shard.tensors:
            places.setdefault(name, []).append(shard.name)
    return {name: tuple(files) for name, files in places.items() if len(files) > 1}


def _two_files_needs(context: Context, params: Params) -> Iterator[Need]:
    for name, files in _first(_copies(context)):
        for file in files:
            yield Need(name, _SAMPLE, file)


@needs(_two_files_needs)
def two_files(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield names stored differently in two files that are both read; the last one read is kept.

    ``wins``: the copy the index lists (``listed``), another one (``other``), or there is no index (``unlisted``).
    ``layout`` is ``same`` when only the bytes differ, ``other`` when dtype or shape do.
    """
    index = context.ckpt.index
    told: dict[tuple[str, bool], list[Location]] = {}
    templates = Templates()
    for name, files in _first(_copies(context)):
        listed = index.weight_map.get(name) if index else None
        wins = "unlisted" if listed is None else "listed" if listed == files[-1] else "other"
        beaten = next((file for file in files[:-1] if file == listed), files[0])
        same = _same(context, name, beaten, files[-1])
        if same is None:
            yield Skip("", "abstained", "the copies of a tensor could not be compared")
        elif not same and wins == params["wins"]:
            module, leaf = split(name)
            like = _like(context.ckpt.shards[beaten], context.ckpt.shards[files[-1]], name)
            places = told.setdefault((join(templates.of(module), leaf), like), [])
            places += [Location(files[-1], tensor=name), Location(beaten, tensor=name)]
    for (template, like), places in told.items():
        facts = {"wins": str(params["wins"]), "layout": "same" if like else "other"}
        yield Hit(facts, tuple(places[:MAX_LOCATIONS]), template, len(places) // 2)


def _beside_needs(context: Context, params: Params) -> Iterator[Need]:
    for name, file in _pairs(context.ckpt).items():
        yield Need(name, _SAMPLE, SINGLE)
        yield Need(name, _SAMPLE, file)


@needs(_beside_needs)
def single_beside(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a ``model.safetensors`` beside an index that names other files, which transformers prefers to them.

    ``content``: ``others`` (other names, shapes or dtypes), ``differ`` (other bytes), ``alike`` as far as looked
    at, ``unread``.
    """
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None or SINGLE not in ckpt.entries or SINGLE in index.by_file:
        return
    files = [file for file in sorted(index.by_file) if file in ckpt.shards]
    if files:
        yield Hit({"content": _content(context, files), "files": len(files)}, (Location(SINGLE),))


def _content(context: Context, files: list[str]) -> str:
    shards = [context.ckpt.shards[file] for file in files]
    single = context.ckpt.shards.get(SINGLE)
    if single is None or not single.readable or not all(shard.readable for shard in shards):
        return "unread"
    names = {name for shard in shards for name in shard.tensors}
    if names != single.tensors.keys():
        return "others"
    verdicts = [_same(context, name, SINGLE, file) for name, file in _pairs(context.ckpt).items()]
    if False in verdicts:
        layout = any(
            not _like(single, context.ckpt.shards[file], name) for name, file in _pairs(context.ckpt).items()
        )
        return "others" if layout else "differ"
    return "unread" if None in verdicts or not verdicts else "alike"


def _pairs(ckpt: Checkpoint) -> Mapping[str, str]:
    """Return the tensors that ``model.safetensors`` shares with the files of the index, and which file has each."""
    index, single = ckpt.index, ckpt.shards.get(SINGLE)
    if index is None or single is None or SINGLE in index.by_file:
        return {}
    pairs: dict[str, str] = {}
    for file in sorted(index.by_file):
        shard = ckpt.shards.get(file)
        for name in shard.tensors if shard else ():
            if name in single.tensors and (name in pairs or len(pairs) < _MAX_SAMPLED):
                pairs[name] = file
    return pairs


def _same(context: Context, name: str, file: str, other: str) -> bool | None:
    """Whether two copies look the same; None when their bytes are not to be had."""
    one, two = context.ckpt.shards[file], context.ckpt.shards[other]
    if not _like(one, two, name):
        return False
    first = context.micro.get(Need(name, _SAMPLE, file).key)
    second = context.micro.get(Need(name, _SAMPLE, other).key)
    return None if first is None or second is None else first == second


def _like(one: Shard, two: Shard, name: str) -> bool:
    a, b = one.tensors[name], two.tensors[name]
    return (a.dtype, tuple(a.shape)) == (b.dtype, tuple(b.shape))


def _first(copies: Mapping[str, tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
    return list(copies.items())[:_MAX_SAMPLED]
