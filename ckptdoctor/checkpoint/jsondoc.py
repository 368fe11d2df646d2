"""JSON files of a checkpoint: parsed once, with every oddity as a defect and positions on demand."""

from __future__ import annotations

import json
import re

from ..model import Facts, Location
from ..sources import pointer
from .limits import MAX_DOCUMENT, MAX_INDEX_VALUES, MAX_VALUES, beyond
from .nouns import Defect
from .sniff import kind
from .spans import Spans

MAX_DUPLICATES = 100

_PLACED = 4_000_000
"""Bytes of text up to which repeated keys are looked up one by one; beyond, the first is named."""

_INDEX = ".index.json"
_FAST_FROM = 2_000_000
"""Bytes of an index from which on msgspec's start-up cost is repaid. It takes a weight map in half the time of json,
other values hardly faster, and where a key is repeated json has to read all again."""
_SHOWN = 200
"""Characters that are kept of a key."""
_BOM = b"\xef\xbb\xbf"
_TRAILING = re.compile(r",\s*[\]}]")
_WHY = {
    "zip": "it is a zip archive",
    "pickle": "it is a pickle",
    "gguf": "it is a GGUF file",
    "html": "it is an HTML page",
    "symlink-text": "it holds the target of a link instead of the content",
    "nul": "it holds only NUL bytes",
    "git-lfs": "it is a damaged Git LFS pointer",
}


class Doc:
    """One JSON file. ``value`` is None unless the file holds exactly one valid object."""

    __slots__ = ("_spans", "defects", "name", "raw", "value")

    def __init__(
        self, name: str, raw: bytes, value: dict[str, object] | None, defects: tuple[Defect, ...] = ()
    ) -> None:
        self.name = name
        self.raw = raw
        """The bytes as read, empty when they could not be had."""
        self.value = value
        self.defects = defects
        self._spans: Spans | None = None

    def locate(self, pointer: str) -> tuple[int, int] | None:
        """Return line and column (1-based, in characters, byte order mark not counted) of a JSON pointer.

        For a member of an object that is where its key begins (the last one's, if it is repeated). None when
        the file is not valid or has no such member.
        """
        return self._positions().locate(pointer) if self.value is not None else None

    def _positions(self) -> Spans:
        if self._spans is None:
            self._spans = Spans(_text(self.raw))
        return self._spans


def parse(raw: bytes, name: str) -> Doc:
    """Parse the content of ``name``; what is wrong with it becomes the document's defects."""
    fault = _unfit(raw, name)
    if fault:
        return Doc(name, raw, None, (fault,))
    defects = [_defect("json-bom", name)] if raw.startswith(_BOM) else []
    try:
        value, repeated = _decode(raw, fast=name.endswith(_INDEX) and len(raw) >= _FAST_FROM)
    except UnicodeDecodeError as error:
        return Doc(name, raw, None, (_defect("json-not-utf8", name, offset=error.start),))
    except RecursionError:
        return Doc(name, raw, None, (_defect("json-too-deep", name),))
    except ValueError as error:
        return Doc(name, raw, None, (*defects, _syntax(error, raw, name)))
    if not isinstance(value, dict):
        return Doc(name, raw, None, (*defects, _defect("json-not-object", name, type=_type(value))))
    doc = Doc(name, raw, value)
    if repeated:
        defects += _duplicates(doc, repeated)
    doc.defects = tuple(defects)
    return doc


def unread(name: str, code: str, **facts: str | int) -> Doc:
    """Return the document of a file whose bytes were not read, with the reason as its defect."""
    return Doc(name, b"", None, (_defect(code, name, **facts),))


def _unfit(raw: bytes, name: str) -> Defect | None:
    """Return why ``raw`` is not even worth parsing."""
    if not raw.strip():
        return _defect("json-empty", name)
    if pointer.parse(raw):
        return _defect("json-lfs-pointer", name)
    if len(raw) > MAX_DOCUMENT:
        return _defect("json-too-large", name, size=len(raw), limit=MAX_DOCUMENT)
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    limit = MAX_INDEX_VALUES if name.endswith(_INDEX) else MAX_VALUES
    return beyond(name, "values", values, limit) if values > limit else None


def _decode(raw: bytes, *, fast: bool) -> tuple[object, list[str]]:
    """Return the value and, of each object that repeats a key, one such key."""
    if fast and not raw.startswith(_BOM) and b"\\" not in raw:
        value = _fast(raw)
        if value is not None:
            return value, []
    repeated: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items) and len(repeated) < MAX_DUPLICATES:
            seen: set[str] = set()
            repeated.append(next(key for key, _ in items if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
        return found

    return json.loads(_text(raw), object_pairs_hook=pairs), repeated


def _fast(raw: bytes) -> object:
    """Decode by msgspec; None when it refuses or a repeated key may be hidden in ``raw``.

    Without backslashes every string has exactly two quotes, so a key that vanished shows in their number.
    """
    import msgspec

    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value if raw.count(b'"') == 2 * _strings(value) else None


def _strings(root: object) -> int:
    """Count the strings in ``root``, keys included."""
    count, stack = 0, [root]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            count += 1
        elif isinstance(value, dict):
            count += len(value)
            if set(map(type, value.values())) == {str}:  # a weight map: nothing below to look at one by one
                count += len(value)
            else:
                stack.extend(value.values())
        elif isinstance(value, list):
            types = list(map(type, value))
            if list in types or dict in types:
                stack.extend(value)
            else:
                count += types.count(str)
    return count


def _text(raw: bytes) -> str:
    return raw.decode("utf-8-sig")


def _defect(code: str, name: str, **facts: str | int) -> Defect:
    return Defect(code, Location(name), facts)


def _syntax(error: ValueError, raw: bytes, name: str) -> Defect:
    """Return the defect for a text that is not JSON."""
    if not isinstance(error, json.JSONDecodeError):  # an integer of more than 4300 digits
        return _defect("json-invalid", name, why="a number has too many digits", line=1, column=1)
    extra = error.msg == "Extra data"
    why = _WHY.get(kind(raw[:256]) or "", error.msg[:1].lower() + error.msg[1:])
    if _TRAILING.match(error.doc, max(0, error.doc.rfind(",", 0, error.pos + 1))):
        why = "a comma before a closing bracket"  # what Python says of it changed in 3.13
    facts: Facts = {"why": why, "line": error.lineno, "column": error.colno}
    code = "json-extra-data" if extra else "json-invalid"
    return Defect(code, Location(name, line=error.lineno, column=error.colno), facts)


def _duplicates(doc: Doc, repeated: list[str]) -> list[Defect]:
    if len(doc.raw) > _PLACED:
        return [_defect("json-duplicate-key", doc.name, key=key[:_SHOWN]) for key in dict.fromkeys(repeated)]
    spans = doc._positions()
    found = []
    for path, key, offset in spans.duplicates(MAX_DUPLICATES):
        line, column = spans.place(offset)
        found.append(
            Defect(
                "json-duplicate-key",
                Location(doc.name, path, line=line, column=column),
                {"key": key[:_SHOWN]},
            )
        )
    return found


def _type(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
