"""What a repair is, and the edits that every family of them makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..checkpoint.nouns import Checkpoint, View
from ..model import Edit, FileMove, Hit, JsonDrop, JsonSet

Repair: TypeAlias = Callable[[Checkpoint, View, Hit], Iterable[Edit]]

CONFIG = "config.json"
UNUSED = ".unused"
"""Appended to the name of a file set aside: vLLM finds ``consolidated*.safetensors`` in any sub-folder."""
_ABSENT = object()


def set_key(ckpt: Checkpoint, file: str, pointer: str, value: object) -> Iterator[Edit]:
    """Yield the edit that gives the member at ``pointer`` its value, nothing if it has it already."""
    was = value_at(ckpt, file, pointer)
    if was is _ABSENT:
        yield JsonSet(file, pointer, value)
    elif was != value or type(was) is not type(value):
        yield JsonSet(file, pointer, value, (was,))


def drop_key(ckpt: Checkpoint, file: str, pointer: str) -> Iterator[Edit]:
    """Yield the edit that removes the member at ``pointer``, nothing if there is none."""
    was = value_at(ckpt, file, pointer)
    if was is not _ABSENT:
        yield JsonDrop(file, pointer, (was,))


def has_key(ckpt: Checkpoint, file: str, pointer: str) -> bool:
    """Whether there is a member at ``pointer``."""
    return value_at(ckpt, file, pointer) is not _ABSENT


def value_at(ckpt: Checkpoint, file: str, pointer: str) -> object:
    """Return the value at a pointer into objects, a sentinel when there is no such member."""
    value: object = ckpt.object(file)
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def member(key: str) -> str:
    """Return ``key`` as one step of a JSON pointer."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def set_aside(ckpt: Checkpoint, file: str) -> Iterator[Edit]:
    """Yield the move that hides ``file`` from every loader, nothing where its new name is taken."""
    if file in ckpt.entries and file + UNUSED not in ckpt.entries:
        yield FileMove(file, file + UNUSED)


def is_whole(ckpt: Checkpoint, view: View) -> bool:
    """Whether every weight file that is meant is here, read and in ``view``, and holds what no other one does."""
    named = ckpt.index.files if ckpt.index and view.files != ("model.safetensors",) else ()
    shards = [shard for name in view.files if (shard := ckpt.shards.get(name)) and shard.readable]
    if not shards or len(shards) < len(view.files) or not set(named) <= set(view.files):
        return False
    return len(set().union(*(shard.tensors for shard in shards))) == sum(len(s.tensors) for s in shards)
