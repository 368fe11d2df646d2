"""JSON files member by member, other files byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import Checkpoint
from ..sources.alike import alike
from ..sources.base import Span, Stat, Unavailable
from .nouns import Document, Member

_WEIGHTS = (".safetensors", ".index.json", ".bin", ".pt", ".pth", ".gguf")
_MEMBERS = 40
"""Members told of one file."""
_DEEP = 12
_TEXT = 120


def documents(left: Checkpoint, right: Checkpoint) -> tuple[Document, ...]:
    """Return the files that are not the same: those of the root that are no weights."""
    names = {**_files(left.entries), **_files(right.entries)}
    return tuple(found for name in sorted(names) if (found := _document(left, right, name)) is not None)


def _files(entries: Mapping[str, Stat]) -> dict[str, None]:
    return {name: None for name in entries if "/" not in name and not name.endswith(_WEIGHTS)}


def _document(left: Checkpoint, right: Checkpoint, name: str) -> Document | None:
    if name not in left.entries or name not in right.entries:
        return Document(name, name in left.entries, name in right.entries)
    one, two = left.docs.get(name), right.docs.get(name)
    if one is not None and two is not None and one.value is not None and two.value is not None:
        found = list(_members("", one.value, two.value, 0))
        return (
            Document(name, True, True, tuple(found[:_MEMBERS]), max(len(found) - _MEMBERS, 0))
            if found
            else None
        )
    return None if _alike(left, right, name) else Document(name, True, True)


def _alike(left: Checkpoint, right: Checkpoint, name: str) -> bool:
    one, two = (Span(name, 0, side.entries[name].size) for side in (left, right))
    try:
        return alike(left.source, one, right.source, two)
    except Unavailable:
        return False


def _members(pointer: str, left: object, right: object, depth: int) -> Iterator[Member]:
    if isinstance(left, dict) and isinstance(right, dict) and depth < _DEEP:
        for key in {**left, **right}:
            place = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if key not in left:
                yield Member(place, None, _text(right[key]))
            elif key not in right:
                yield Member(place, _text(left[key]), None)
            else:
                yield from _members(place, left[key], right[key], depth + 1)
    elif left != right or type(left) is not type(right):
        yield Member(pointer or "/", _text(left), _text(right))


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
