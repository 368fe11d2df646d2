"""The shard index: which file each tensor is said to be in, with paths that may not leave the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..model import Facts, Location
from ..sources.base import Stat
from .layout import capped
from .nouns import Defect, Doc, Index

BadPath = Literal["absolute", "parent", "backslash", "link"]


def parse(doc: Doc, entries: Mapping[str, Stat]) -> tuple[Index | None, list[Defect]]:
    """Read the index in ``doc``; None when it has no usable weight map."""
    if doc.value is None:
        return None, []
    weight_map = doc.value.get("weight_map", ...)
    if weight_map is ...:
        return None, [_defect("index-no-weight-map", doc.name, "")]
    if not isinstance(weight_map, dict):
        return None, [_defect("index-weight-map-type", doc.name, "/weight_map")]
    defects = [] if weight_map else [_defect("index-empty", doc.name, "/weight_map")]
    strings = weight_map
    if set(map(type, weight_map.values())) - {str}:
        strings = {tensor: file for tensor, file in weight_map.items() if type(file) is str}
        odd = [tensor for tensor in weight_map if tensor not in strings]
        defects += capped([_defect("index-entry-type", doc.name, _pointer(t), name=t) for t in odd])
    index = Index(doc.name, doc, strings, _total_size(doc.value))
    bad = [(file, why) for file in index.files if (why := bad_path(file, entries))]
    defects += capped(
        [_defect("index-path", doc.name, _pointer(index.by_file[f][0]), path=f, why=why) for f, why in bad]
    )
    return index, defects


def bad_path(path: str, entries: Mapping[str, Stat]) -> BadPath | None:
    """Return why an index entry must not be followed, None when it stays inside the checkpoint."""
    if "\\" in path:
        return "backslash"
    if path.startswith("/") or path[1:2] == ":":
        return "absolute"
    if ".." in path.split("/"):
        return "parent"
    found = entries.get(path)
    return "link" if found is not None and found.state == "link-out" else None


def _total_size(value: Mapping[str, object]) -> int | None:
    metadata = value.get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(size, float) and size.is_integer():
        return int(size)
    return size if type(size) is int else None


def _pointer(tensor: str) -> str:
    return f"/weight_map/{tensor.replace('~', '~0').replace('/', '~1')}"


def _defect(code: str, file: str, pointer: str, **facts: str) -> Defect:
    found: Facts = facts
    return Defect(code, Location(file, pointer), found)
