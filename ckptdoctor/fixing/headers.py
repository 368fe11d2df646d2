"""A safetensors header with other names, other views of the same bytes, or another ``__metadata__``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from ..checkpoint.dtypes import BITS
from ..model import MetaSet, TensorRename, TensorView
from .changes import Patch, Splice
from .jsontext import edited, first_object, members_of, spliced

METADATA = "__metadata__"
_PREFIX = 8
_ALIGN = 8
"""The reference writer pads headers so that the data begin at a multiple of eight bytes."""

HeaderEdit = TensorRename | TensorView | MetaSet


class Refused(ValueError):
    """An edit does not fit what is there; the message says why."""


def rewritten(file: str, head: bytes, edits: Sequence[HeaderEdit]) -> Patch | Splice:
    """Return the change that gives ``file`` its new header; ``head`` is the length field and the header.

    The header keeps its length, padded with spaces, where the new one fits: then only these bytes are written.
    Raises Refused when an edit does not fit.
    """
    text = head[_PREFIX:].decode("utf-8")
    new = _edited(text.rstrip(" "), edits).encode("utf-8")
    room = len(head) - _PREFIX
    if len(new) <= room:
        return Patch(file, head[:_PREFIX] + new.ljust(room), head)
    length = math.ceil(len(new) / _ALIGN) * _ALIGN
    return Splice(file, length.to_bytes(_PREFIX, "little") + new.ljust(length), head)


def _edited(text: str, edits: Sequence[HeaderEdit]) -> str:
    names = {edit.tensor: edit.to for edit in edits if isinstance(edit, TensorRename)}
    views = {edit.tensor: edit for edit in edits if isinstance(edit, TensorView)}
    members = {member.key: member for member in members_of(text, first_object(text))}
    _check_names(names, members)
    changed = []
    for tensor, view in views.items():
        member = members.get(tensor)
        if member is None:
            raise Refused(f"there is no tensor {tensor}")
        new = _viewed(json.loads(text[member.start : member.end]), view)
        changed.append((member.start, member.end, new))
    changed += [
        (members[old].key_start, members[old].key_end, json.dumps(new, ensure_ascii=text.isascii()))
        for old, new in names.items()
    ]
    return _with_metadata(
        spliced(text, changed), [edit for edit in edits if isinstance(edit, MetaSet)], METADATA in members
    )


def _check_names(names: Mapping[str, str], members: Iterable[str]) -> None:
    here = set(members)
    for old, new in names.items():
        if old not in here:
            raise Refused(f"there is no tensor {old}")
        if new == METADATA or (new in here and new not in names):
            raise Refused(f"there is a tensor {new} already")
    if len(set(names.values())) != len(names):
        raise Refused("two tensors would get one name")


def _viewed(value: dict[str, object], edit: TensorView) -> str:
    shape = value.get("shape")
    if value.get("dtype") != edit.was[0] or not isinstance(shape, list) or tuple(shape) != edit.was[1]:
        raise Refused(f"{edit.tensor} is {value.get('dtype')} {shape}, not {edit.was[0]} {list(edit.was[1])}")
    bits = [BITS.get(dtype, 0) * math.prod(sizes) for dtype, sizes in (edit.was, (edit.dtype, edit.shape))]
    if bits[0] != bits[1] or not bits[0]:
        raise Refused(f"{edit.tensor}: {edit.dtype} {list(edit.shape)} takes another number of bytes")
    value |= {"dtype": edit.dtype, "shape": list(edit.shape)}
    return json.dumps(value, separators=(",", ":"))


def _with_metadata(text: str, edits: Sequence[MetaSet], present: bool) -> str:
    if not edits:
        return text
    values = {edit.key: edit.value for edit in edits if edit.value is not None}
    if present and isinstance(json.loads(text)[METADATA], dict):
        return edited(text, f"/{METADATA}", values, {edit.key for edit in edits if edit.value is None})
    text = edited(text, "", {}, {METADATA})
    start = first_object(text) + 1
    written = json.dumps({METADATA: values}, separators=(",", ":"))[1:-1]
    return f"{text[:start]}{written}{',' if members_of(text, start - 1) else ''}{text[start:]}"
