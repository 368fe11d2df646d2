"""The index against the headers, and files that lie where a loader does not expect them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..checkpoint.index import bad_path
from ..checkpoint.names import Templates, join, split
from ..checkpoint.nouns import Checkpoint, Index
from ..loaders.base import Event
from ..loaders.shared.modules import architecture
from ..model import MAX_LOCATIONS, Hit, Location, Outcome, Skip
from . import shardfiles
from .base import Context, Params


class Difference(NamedTuple):
    """How the index and the headers of the files it names differ. Tensor → file."""

    ghosts: dict[str, str]
    """Listed for a file, in none."""
    elsewhere: dict[str, str]
    """Listed for a file, found in another of the listed ones."""
    unlisted: dict[str, str]
    """In a listed file, listed nowhere."""


def missing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the files that the index names and that are not here."""
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None or ckpt.metadata_only:
        return
    gone = [file for file in sorted(index.by_file) if not _is_here(ckpt, file) and not bad_path(file, {})]
    if not gone:
        return
    told = {
        reading.target.label: event
        for reading in context.readings
        for event in reading.events
        if event.code == "shard-missing"
    }
    yield Hit(
        {"gone": len(gone), "named": len(index.by_file), "first": gone[0]},
        tuple(
            Location(index.file, _pointer(index.by_file[file][0]), note=file) for file in gone[:MAX_LOCATIONS]
        ),
        outcome=_outcomes(context, index, told),
        error={label: event.error for label, event in told.items() if event.error},
        accounts_for=frozenset(name for file in gone for name in index.by_file[file]),
    )


def _outcomes(context: Context, index: Index, told: Mapping[str, Event]) -> dict[str, Outcome]:
    """Return what each loader that reads the index says of the files, ``unknown`` where it is silent."""
    labels = [reading.target.label for reading in context.readings if index.file in reading.plan.files_read]
    return {label: told[label].outcome if label in told else "unknown" for label in labels}


def not_in_root(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield index entries that lead to a file by way of a folder or of ``./``."""
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None:
        return
    named = [
        f for f in sorted(index.by_file) if "/" in f and not bad_path(f, ckpt.entries) and _is_here(ckpt, f)
    ]
    if named:
        at = tuple(
            Location(index.file, _pointer(index.by_file[file][0]), note=file)
            for file in named[:MAX_LOCATIONS]
        )
        yield Hit({"path": named[0]}, at, count=len(named))


def index_metadata(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield an index of which ``metadata`` is absent or no object."""
    index = context.ckpt.index
    if index is None or index.doc.value is None:
        return
    found = index.doc.value.get("metadata", ...)
    if not isinstance(found, dict):
        yield Hit({"absent": found is ...}, (Location(index.file, "" if found is ... else "/metadata"),))


def ghosts(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield tensors that the index lists and no file has; ``known`` is whether the architecture is.

    What a known architecture wants and lacks is the completeness rules' to report.
    """
    index, found = context.ckpt.index, difference(context)
    if index is None or found is None:
        return
    comparison = architecture(context.ckpt, context.view).comparison
    wanted = {row.template for row in comparison.missing} if comparison else set()
    for template, names in _by_template(found.ghosts).items():
        if template not in wanted:
            at = tuple(Location(index.file, _pointer(name), tensor=name) for name in names[:MAX_LOCATIONS])
            yield Hit({"known": comparison is not None}, at, template, len(names))


def elsewhere(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield tensors that the index sends to another of the files it names than the one that has them."""
    index, found = context.ckpt.index, difference(context)
    if index is not None and found is not None and found.elsewhere:
        at = tuple(
            Location(index.file, _pointer(name), tensor=name) for name in [*found.elsewhere][:MAX_LOCATIONS]
        )
        yield Hit({}, at, count=len(found.elsewhere))


def unlisted(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield tensors of the files that the index names which it does not list at all."""
    found = difference(context)
    if found is not None and found.unlisted:
        at = tuple(Location(file, tensor=name) for name, file in [*found.unlisted.items()][:MAX_LOCATIONS])
        yield Hit({}, at, count=len(found.unlisted))


def dropped_file(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield numbered files of the index's own set that it does not name and that hold what no other file has."""
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None or difference(context) is None:
        return
    left = _unnamed(ckpt, index)
    sets = {part.family for file in index.by_file if (part := shardfiles.part(file))}
    have = {name for file in index.by_file for name in ckpt.shards[file].tensors} if left else set()
    for file in left:
        part = shardfiles.part(file)
        alone = [name for name in ckpt.shards[file].tensors if name not in have]
        if part is not None and part.family in sets and alone:
            at = (Location(index.file, note=file), Location(file, tensor=alone[0]))
            norms = any("norm" in name for name in alone)
            yield Hit({"path": file, "tensors": len(alone), "norms": norms}, at)


def unnamed(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weight files in the root that the index does not name, those with a rule of their own left out."""
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None or not any(file in ckpt.shards for file in index.by_file):
        return
    sets = {part.family for file in index.by_file if (part := shardfiles.part(file))}
    for file in _unnamed(ckpt, index):
        part = shardfiles.part(file)
        own_rule = (
            file == "model.safetensors" or fnmatchcase(file, "consolidated*") or "adapter_model" in file
        )
        if not own_rule and (part is None or part.family not in sets):
            yield Hit({}, (Location(file),))


def total_size(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a ``total_size`` that is neither 0 nor the bytes of the tensors in the files the index names."""
    ckpt, index = context.ckpt, context.ckpt.index
    if index is None or not index.total_size or not index.by_file:
        return
    shards = [
        ckpt.shards[file] for file in index.by_file if file in ckpt.shards and ckpt.shards[file].readable
    ]
    if len(shards) < len(index.by_file) or sum(s.size - 8 - s.header_len for s in shards) == index.total_size:
        return  # the quick sum holds for files without holes and remainders
    spans = (tensor.data_offsets for shard in shards for tensor in shard.tensors.values())
    got = sum(end - begin for begin, end in spans)
    if got != index.total_size:
        yield Hit({"expected": got, "got": index.total_size}, (Location(index.file, "/metadata/total_size"),))


def difference(context: Context) -> Difference | None:
    """Compare index and headers (once per view); None when there is no index or a header is not to be had."""
    memo = context.view.memo
    if "index-difference" not in memo:
        memo["index-difference"] = _compare(context.ckpt)
    found = memo["index-difference"]
    return found if isinstance(found, Difference) else None


def _compare(ckpt: Checkpoint) -> Difference | None:
    index = ckpt.index
    if index is None or not index.weight_map:
        return None
    files = index.by_file
    if not all(file in ckpt.shards and ckpt.shards[file].readable for file in files):
        return None
    odd = [file for file, names in files.items() if ckpt.shards[file].tensors.keys() != set(names)]
    lost = {name: file for file in odd for name in files[file] if name not in ckpt.shards[file].tensors}
    extra = {
        name: file for file in odd for name in ckpt.shards[file].tensors if index.weight_map.get(name) != file
    }
    return _difference(lost, extra, index.weight_map)


def _difference(
    lost: Mapping[str, str], extra: Mapping[str, str], weight_map: Mapping[str, str]
) -> Difference:
    """Sort out what files lack of the index (``lost``) and what they hold beside it (``extra``); tensor → file."""
    return Difference(
        ghosts={name: file for name, file in lost.items() if name not in extra},
        elsewhere={name: file for name, file in lost.items() if name in extra},
        unlisted={name: file for name, file in extra.items() if name not in weight_map},
    )


def _unnamed(ckpt: Checkpoint, index: Index) -> list[str]:
    named = {posixpath.normpath(file) for file in index.by_file}
    return [file for file in ckpt.shards if "/" not in file and file not in named]


def _is_here(ckpt: Checkpoint, file: str) -> bool:
    return file in ckpt.entries or posixpath.normpath(file) in ckpt.entries


def _by_template(names: Iterable[str]) -> Mapping[str, list[str]]:
    templates = Templates()
    found: dict[str, list[str]] = {}
    for name in names:
        module, leaf = split(name)
        found.setdefault(join(templates.of(module), leaf), []).append(name)
    return found


def _pointer(tensor: str) -> str:
    return f"/weight_map/{tensor.replace('~', '~0').replace('/', '~1')}"
