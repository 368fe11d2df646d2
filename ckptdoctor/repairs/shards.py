"""The index rebuilt from the headers, and weight files that stand in the way set aside."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from ..checkpoint.nouns import Checkpoint, View
from ..expected.comparison import Comparison
from ..formats.parts import wholes
from ..loaders.shared.modules import architecture
from ..model import Edit, FileMove, FileWrite, Hit, JsonSet
from .base import drop_key, member, set_aside, set_key

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PART = re.compile(r"(?P<stem>.+?)[-_](?P<number>\d{1,9})-of-(?P<total>\d{1,9})\.safetensors\Z")
_DOUBLED = re.compile(r"(?P<stem>.+)\.safetensors(?P<part>-\d+-of-\d+\.safetensors)\Z")
_OTHERS = ("adapter_model*", "consolidated*")
_ALIKE = 0.5
"""Share of the expected tensors from which on the architecture is taken to be that of the files."""
_FEW = 100
"""Entries changed one by one; more, and the index is written whole."""


def rebuild_index(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Make the index list what the headers of the model's files hold, each tensor once."""
    files = model_files(ckpt)
    if files == [SINGLE]:
        yield from set_aside(ckpt, INDEX)
    elif files:
        yield from _index_edits(ckpt, {name: file for file in files for name in ckpt.shards[file].tensors})


def model_files(ckpt: Checkpoint) -> list[str]:
    """Return the root's weight files that make up the model between them, empty where that cannot be told.

    They are read, hold every tensor once, and hold all that the architecture asks for; where it is not known, all
    that the index lists. A whole numbered set goes before all files that are there.
    """
    root = [file for file in ckpt.shards if "/" not in file and not _is_other(file)]
    listed = tuple(ckpt.index.weight_map) if ckpt.index else ()
    for files in (*_numbered(root), *([[SINGLE]] if SINGLE in root else [sorted(root)])):
        if not files or not all(ckpt.shards[file].readable and ckpt.shards[file].tensors for file in files):
            continue
        names = [name for file in files for name in ckpt.shards[file].tensors]
        if len(set(names)) == len(names) and _is_complete(ckpt, files, set(names), listed):
            return files
    return []


def _is_complete(ckpt: Checkpoint, files: Sequence[str], names: set[str], listed: Iterable[str]) -> bool:
    found = _against_architecture(ckpt, files)
    return not found.missing if found is not None else names.issuperset(listed)


def _against_architecture(ckpt: Checkpoint, files: Sequence[str]) -> Comparison | None:
    """Return how ``files`` relate to what the architecture asks for, None where they go by other names altogether."""
    found = architecture(ckpt, ckpt.view(tuple(files))).comparison
    return found if found is not None and found.matched >= _ALIKE else None


def _is_other(file: str) -> bool:
    return any(fnmatchcase(file, pattern) for pattern in _OTHERS)


def _numbered(files: Sequence[str]) -> Iterator[list[str]]:
    """Yield the numbered sets of which every file is here (some writers count from 0)."""
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for file in files:
        part = _PART.match(file)
        if part is not None:
            sets.setdefault((part["stem"], part["total"]), {})[int(part["number"])] = file
    for (_, total), numbers in sets.items():
        count = int(total)
        if len(numbers) <= count + 1 and (
            set(numbers) == set(range(1, count + 1))
            or (0 in numbers and set(numbers) == set(range(len(numbers))))
        ):
            yield [numbers[number] for number in sorted(numbers)]


def _index_edits(ckpt: Checkpoint, weight_map: Mapping[str, str]) -> Iterator[Edit]:
    doc = ckpt.docs.get(INDEX)
    value = doc.value if doc else None
    old = value.get("weight_map") if value else None
    if isinstance(old, dict) and old:
        changed = [name for name, file in weight_map.items() if old.get(name) != file]
        gone = [name for name in old if name not in weight_map]
        if len(changed) + len(gone) <= _FEW:
            for name in changed:
                yield from set_key(ckpt, INDEX, "/weight_map" + member(name), weight_map[name])
            for name in gone:
                yield from drop_key(ckpt, INDEX, "/weight_map" + member(name))
            yield from _size_edits(ckpt, _bytes(ckpt, set(weight_map.values())))
            return
    yield from _written_whole(ckpt, weight_map)


def _written_whole(ckpt: Checkpoint, weight_map: Mapping[str, str]) -> Iterator[Edit]:
    """Write the index anew, with the metadata that the old one has."""
    doc = ckpt.docs.get(INDEX)
    if INDEX in ckpt.entries and (doc is None or not doc.raw):
        return  # a pointer, or unread: what would be overwritten is not known
    kept = doc.value.get("metadata") if doc and doc.value else None
    metadata = {
        **(kept if isinstance(kept, dict) else {}),
        "total_size": _bytes(ckpt, set(weight_map.values())),
    }
    text = json.dumps({"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}, indent=2) + "\n"
    was = hashlib.sha256(doc.raw).hexdigest() if doc else None
    yield FileWrite(INDEX, text.encode(), was)


def _size_edits(ckpt: Checkpoint, size: int) -> Iterator[Edit]:
    metadata = ckpt.object(INDEX).get("metadata")
    if not isinstance(metadata, dict):
        yield from set_key(ckpt, INDEX, "/metadata", {"total_size": size})
    elif metadata.get("total_size"):
        yield from set_key(ckpt, INDEX, "/metadata/total_size", size)


def _bytes(ckpt: Checkpoint, files: set[str]) -> int:
    """Return the bytes of the tensors in ``files``."""
    spans = (tensor.data_offsets for file in files for tensor in ckpt.shards[file].tensors.values())
    return sum(end - begin for begin, end in spans)


def drop_ghosts(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Drop the entries of one template, where the architecture asks for nothing that is not stored.

    The lost companion of a quantised weight is no ghost: its entry is the last trace of it.
    """
    for place in hit.at:
        name = place.tensor or ""
        if any(whole in view.owner for whole in wholes(name, ckpt.rulebook)) or not model_files(ckpt):
            return
    for place in hit.at if hit.count == len(hit.at) else ():
        yield from drop_key(ckpt, INDEX, "/weight_map" + member(place.tensor or ""))


def total_size(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the bytes that the headers add up to, where it is known that nothing else explains the difference."""
    index = ckpt.index
    files = model_files(ckpt) if index else []
    found = _against_architecture(ckpt, files) if files else None
    if (
        index is None
        or found is None
        or found.mismatched
        or any(
            name not in ckpt.shards[file].tensors
            for name, file in index.weight_map.items()
            if file in ckpt.shards
        )
    ):
        return
    yield from set_key(ckpt, INDEX, "/metadata/total_size", hit.facts["expected"])


def metadata(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Give the index the object that transformers wants in it."""
    index = ckpt.index
    shards = [ckpt.shards.get(file) for file in index.files] if index else []
    if index and all(shard is not None and shard.readable for shard in shards):
        yield from _size_edits(ckpt, _bytes(ckpt, set(index.files)))


def into_root(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Move the files that the index names below the root into the root, and name them there."""
    index = ckpt.index
    for file, tensors in index.by_file.items() if index else ():
        name = file.rpartition("/")[2]
        if "/" not in file or posixpath.normpath(file) not in ckpt.entries:
            continue
        if posixpath.normpath(file) != name:
            if name in ckpt.entries:
                return  # two files of one name: which is meant cannot be known
            yield FileMove(posixpath.normpath(file), name)
        for tensor in tensors:
            yield JsonSet(INDEX, "/weight_map" + member(tensor), name, (file,))


def undouble(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the first of two extensions out of every file's name, and out of the index."""
    for file in ckpt.shards:
        doubled = _DOUBLED.match(file)
        name = f"{doubled['stem']}{doubled['part']}" if doubled else file
        if doubled is None or name in ckpt.entries:
            continue
        yield FileMove(file, name)
        for tensor in ckpt.index.by_file.get(file, ()) if ckpt.index else ():
            yield JsonSet(INDEX, "/weight_map" + member(tensor), name, (file,))


def index_or_name(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the index that several files lack; give a lone file the name that loaders look for."""
    files = model_files(ckpt)
    if len(files) == 1 and SINGLE not in ckpt.entries:
        yield FileMove(files[0], SINGLE)
    elif len(files) > 1:
        yield from rebuild_index(ckpt, view, hit)


def hide_single(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Set ``model.safetensors`` aside where the files of the index are a whole model without it."""
    named = ckpt.index.files if ckpt.index else ()
    if named and all(file in ckpt.shards and ckpt.shards[file].readable for file in named):
        found = _against_architecture(ckpt, named)
        if found is None or not found.missing:
            yield from set_aside(ckpt, SINGLE)


def hide(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Set aside the files that the hit names."""
    for file in dict.fromkeys(place.file for place in hit.at):
        yield from set_aside(ckpt, file)


def hide_adapter(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Set an adapter's weights and config aside, so that the model beside them is what is loaded."""
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        yield from set_aside(ckpt, file)
