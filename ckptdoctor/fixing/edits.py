"""From edits to changes of files, every precondition looked at; and from changes to the overlay that shows them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence

from ..checkpoint.nouns import Checkpoint
from ..model import (
    DirRename,
    Edit,
    FileDrop,
    FileMove,
    FileWrite,
    JsonDrop,
    JsonSet,
    MetaSet,
    TensorRename,
    TensorView,
)
from ..sources.base import Source, Span, Unavailable
from ..sources.overlay import Layer, Overlay
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .headers import Refused, rewritten
from .jsontext import NoPlace, edited, value_of, with_keys

INDEX = "model.safetensors.index.json"


def to_changes(ckpt: Checkpoint, edits: Sequence[Edit]) -> tuple[Change, ...]:
    """Return what ``edits`` come down to, in the order to do it. Raises Refused when one does not fit."""
    changes = [*_json(ckpt, edits), *_headers(ckpt, edits)]
    for edit in edits:
        if isinstance(edit, FileWrite):
            changes.append(_written(ckpt, edit))
        elif isinstance(edit, FileDrop):
            changes.append(_cut(ckpt, edit))
    files = [change.file for change in changes if not isinstance(change, Rename)]
    if len(set(files)) != len(files):
        raise Refused("one file would be changed in two ways at once")
    changes += [_moved(ckpt, edit) for edit in edits if isinstance(edit, FileMove)]
    return (*changes, *_renames(edits))


def overlaid(source: Source, changes: Iterable[Change]) -> Overlay:
    """Return ``source`` as it would be after ``changes``."""
    layers: dict[str, Layer | None] = {}
    label = source.label
    sizes = source.entries()
    for change in changes:
        if isinstance(change, Rename):
            label = _renamed(label, change.to)
        elif isinstance(change, Replace):
            layers[change.file] = Layer(change.content)
        elif isinstance(change, Patch):
            layers[change.file] = _layer(
                change.file, sizes[change.file].size, change.content, len(change.content)
            )
        elif isinstance(change, Splice):
            layers[change.file] = _layer(change.file, sizes[change.file].size, change.head, len(change.was))
        elif isinstance(change, Truncate):
            layers[change.file] = _layer(change.file, change.size)
        else:
            layers[change.to] = layers.pop(change.file, None) or _layer(change.file, sizes[change.file].size)
            layers[change.file] = None
    return Overlay(source, layers, label)


def _layer(base: str, end: int, head: bytes = b"", skip: int = 0) -> Layer:
    """Return ``head`` and the bytes of ``base`` from ``skip`` to ``end``."""
    return Layer(head, [(base, skip, end - skip)])


def _renamed(label: str, name: str) -> str:
    """Return the path with its last part replaced, spelt as it was typed otherwise."""
    stem = label.rstrip("/")
    return stem[: len(stem) - len(posixpath.basename(stem))] + name


def _json(ckpt: Checkpoint, edits: Sequence[Edit]) -> Iterator[Change]:
    """Yield one rewritten text per JSON file; the index follows the tensors that get other names."""
    own = [edit for edit in edits if isinstance(edit, JsonSet | JsonDrop)]
    files = dict.fromkeys(edit.file for edit in own)
    names = _listed(ckpt, edits)
    if names and not any(isinstance(edit, FileWrite) and edit.file == INDEX for edit in edits):
        files[INDEX] = None
    for file in files:
        raw = _raw(ckpt, file)
        try:
            text = raw.decode("utf-8")
            text = _edited(text, [edit for edit in own if edit.file == file])
            if file == INDEX and names:
                text = with_keys(text, "/weight_map", names)
        except UnicodeDecodeError:
            raise Refused(f"{file} is not UTF-8") from None
        except NoPlace as error:
            raise Refused(f"{file}: {error}") from error
        yield Replace(file, text.encode("utf-8"), raw)


def _listed(ckpt: Checkpoint, edits: Sequence[Edit]) -> dict[str, str]:
    """Return the new names of the renamed tensors that the index lists, by their old ones."""
    renamed = {edit.tensor: edit.to for edit in edits if isinstance(edit, TensorRename)}
    listed = ckpt.index.weight_map if ckpt.index else {}
    return {old: new for old, new in renamed.items() if old in listed}


def _edited(text: str, edits: Sequence[JsonSet | JsonDrop]) -> str:
    groups: dict[str, list[JsonSet | JsonDrop]] = {}
    for edit in edits:
        groups.setdefault(edit.pointer.rpartition("/")[0], []).append(edit)
    for around, group in groups.items():
        if len(group) == 1 and value_of(text, group[0].pointer) != group[0].was:
            raise Refused(f"{group[0].pointer} is not what it was")
        values = {_key(edit): edit.value for edit in group if isinstance(edit, JsonSet)}
        text = edited(text, around, values, {_key(edit) for edit in group if isinstance(edit, JsonDrop)})
    return text


def _key(edit: JsonSet | JsonDrop) -> str:
    return edit.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _headers(ckpt: Checkpoint, edits: Sequence[Edit]) -> Iterator[Change]:
    groups: dict[str, list[TensorRename | TensorView | MetaSet]] = {}
    for edit in edits:
        if isinstance(edit, TensorRename | TensorView | MetaSet):
            groups.setdefault(edit.file, []).append(edit)
    for file, group in groups.items():
        shard = ckpt.shards.get(file)
        if shard is None or not shard.readable:
            raise Refused(f"{file}: its header cannot be read")
        head = ckpt.source.read_many([Span(file, 0, 8 + shard.header_len)])[0]
        if isinstance(head, Unavailable):
            raise Refused(str(head))
        yield rewritten(file, head, group)


def _written(ckpt: Checkpoint, edit: FileWrite) -> Change:
    if edit.was is None:
        if edit.file in ckpt.entries:
            raise Refused(f"{edit.file} is there already")
        return Replace(edit.file, edit.content, None)
    raw = _raw(ckpt, edit.file)
    if hashlib.sha256(raw).hexdigest() != edit.was:
        raise Refused(f"{edit.file} is not what it was")
    return Replace(edit.file, edit.content, raw)


def _cut(ckpt: Checkpoint, edit: FileDrop) -> Change:
    size = ckpt.entries[edit.file].size
    if size != edit.was or not 0 <= edit.size < edit.was:
        raise Refused(f"{edit.file} has {size} bytes, not {edit.was}")
    return Truncate(edit.file, edit.size, edit.was)


def _renames(edits: Sequence[Edit]) -> list[Change]:
    names = [edit.to for edit in edits if isinstance(edit, DirRename)]
    if len(names) > 1 or any("/" in name or name in ("", ".", "..") for name in names):
        raise Refused(f"{', '.join(names)}: not one name for the directory")
    return [Rename(name) for name in names]


def _moved(ckpt: Checkpoint, edit: FileMove) -> Change:
    if edit.file not in ckpt.entries or edit.to in ckpt.entries:
        raise Refused(f"{edit.file} cannot be called {edit.to}: that name is taken, or the file is gone")
    return Move(edit.file, edit.to)


def _raw(ckpt: Checkpoint, file: str) -> bytes:
    doc = ckpt.docs.get(file)
    if doc is not None and doc.raw:
        return doc.raw
    got = ckpt.source.read_many([Span(file, 0, None)])[0] if file in ckpt.entries else None
    if not isinstance(got, bytes):
        raise Refused(f"{file} cannot be read")
    return got
