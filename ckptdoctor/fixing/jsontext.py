"""Change members of a JSON text and leave every other character as its author wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Member(NamedTuple):
    """Where one member of an object stands in the text, in characters."""

    key: str
    key_start: int
    key_end: int
    start: int
    """First character of the value."""
    end: int
    """One past the value."""


class NoPlace(ValueError):
    """The text has no object where a pointer leads."""


def value_of(text: str, pointer: str) -> tuple[object, ...]:
    """Return the value at a pointer as a 1-tuple, empty when there is no such member."""
    try:
        _, key, members = _object_at(text, pointer)
    except NoPlace:
        return ()
    member = _last(members, key)
    return (json.loads(text[member.start : member.end]),) if member is not None else ()


def edited(text: str, around: str, values: Mapping[str, object], drop: Collection[str] = ()) -> str:
    """Return ``text`` with members of the object at ``around`` set (in place, or after the last one) and dropped.

    Of a repeated key the last one is set, as every JSON library reads it, and all are dropped.
    """
    start = _descend(text, around)
    members = members_of(text, start)
    kept = [place for place, member in enumerate(members) if member.key not in drop]
    here = {member.key: member for member in members}
    changes = [
        (here[key].start, here[key].end, _dump(text, value, _indent_of(text, here[key].key_start)))
        for key, value in values.items()
        if key in here
    ]
    changes += _gaps(text, start, members, kept)
    new = {key: value for key, value in values.items() if key not in here}
    if new:
        changes.append(_appended(text, start, members, kept[-1:], new))
    return spliced(text, changes)


def _gaps(
    text: str, start: int, members: Sequence[Member], kept: Sequence[int]
) -> list[tuple[int, int, str]]:
    """Return the ranges to cut so that only the members at ``kept`` are left, with one separator between them."""
    if not members or len(kept) == len(members):
        return []
    if not kept:
        return [(start + 1, _skip(text, members[-1].end), "")]
    cuts = [(members[0].key_start, members[kept[0]].key_start, "")] if kept[0] else []
    for place, following in zip(kept, [*kept[1:], len(members)], strict=True):
        if following - place > 1:
            cuts.append((members[place].end, members[following - 1].end, ""))
    return cuts


def _appended(
    text: str, start: int, members: Sequence[Member], last: Sequence[int], new: Mapping[str, object]
) -> tuple[int, int, str]:
    """Return the insertion of new members behind the ``last`` one that is kept, in the style of all that were there."""
    style = _style(text, start, members if last else ())
    written = style.comma.join(
        f"{_text(text, key)}{style.colon}{_dump(text, value, style.indent)}" for key, value in new.items()
    )
    if last:
        end = members[last[0]].end
        return end, end, style.comma + written
    inside = start + 1
    return inside, inside, style.first + written + style.last


def with_keys(text: str, pointer: str, names: Mapping[str, str]) -> str:
    """Return ``text`` with the keys of the object at ``pointer`` renamed."""
    edits = [
        (member.key_start, member.key_end, _text(text, names[member.key]))
        for member in members_of(text, _descend(text, pointer))
        if member.key in names
    ]
    return spliced(text, edits)


def spliced(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Return ``text`` with ranges replaced; the ranges do not overlap."""
    parts, done = [], 0
    for start, end, new in sorted(edits):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def members_of(text: str, start: int) -> list[Member]:
    """Return the members of the object that begins at ``start``."""
    return list(_members(text, start))


def first_object(text: str) -> int:
    """Return where the object of the whole text begins. Raises NoPlace when it is no object."""
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if text[start : start + 1] != "{":
        raise NoPlace("the file holds no JSON object")
    return start


def _members(text: str, start: int) -> Iterator[Member]:
    at = _skip(text, start + 1)
    while text[at : at + 1] == '"':
        key, key_end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, key_end) + 1)
        _, end = _DECODER.raw_decode(text, value)
        yield Member(key, at, key_end, value, end)
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            return
        at = _skip(text, at + 1)


def _object_at(text: str, pointer: str) -> tuple[int, str, list[Member]]:
    """Return where the object around ``pointer`` begins, the member's key, and the object's members."""
    around, _, last = pointer.rpartition("/")
    start = _descend(text, around)
    return start, _unescape(last), members_of(text, start)


def _descend(text: str, pointer: str) -> int:
    start = first_object(text)
    for token in pointer.split("/")[1:]:
        member = _last(members_of(text, start), _unescape(token))
        if member is None or text[member.start] != "{":
            raise NoPlace(f"there is no object at {pointer}")
        start = member.start
    return start


def _last(members: Sequence[Member], key: str) -> Member | None:
    """Return the member called ``key``; of a repeated key the last one counts, as in every JSON library."""
    return next((member for member in reversed(members) if member.key == key), None)


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Style(NamedTuple):
    """What stands between members here."""

    comma: str
    colon: str
    first: str
    last: str
    indent: str | None
    """White space before a member on a line of its own, None where objects are written on one line."""


def _style(text: str, start: int, members: Sequence[Member]) -> _Style:
    if members:
        before = text[start + 1 : members[0].key_start]
        comma = (
            text[members[-2].end : members[-1].key_start]
            if len(members) > 1
            else "," + (before or ("" if _tight(text) else " "))
        )
        colon = text[members[-1].key_end : members[-1].start]
        return _Style(comma, colon, before, "", _indent_of(text, members[-1].key_start))
    unit = _unit(text)
    if unit is None:
        return _Style(", ", ": ", "", "", None)
    newline, outer = _newline(text), _indent_of(text, start) or ""
    inner = newline + outer + unit
    return _Style("," + inner, ": ", inner, newline + outer, outer + unit)


def _indent_of(text: str, at: int) -> str | None:
    """Return the white space that begins the line of ``at``; None where the whole text is one line."""
    if _unit(text) is None:
        return None
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str | None:
    """Return one step of indentation, None where the text is written on one line."""
    try:
        members = members_of(text, first_object(text))
    except (NoPlace, ValueError):
        return None
    before = text[first_object(text) + 1 : members[0].key_start] if members else ""
    return before.rpartition("\n")[2] or "  " if "\n" in before else None


def _tight(text: str) -> bool:
    """Whether the text is written without blanks."""
    return '":' in text and '": ' not in text


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _text(text: str, value: object) -> str:
    return json.dumps(value, ensure_ascii=text.isascii())


def _dump(text: str, value: object, indent: str | None) -> str:
    """Write ``value`` as the rest of the text is written, its inner lines below the member's own indentation."""
    unit = _unit(text)
    if unit is None or indent is None:
        separators = (",", ":") if _tight(text) else (", ", ": ")
        return json.dumps(value, separators=separators, ensure_ascii=text.isascii())
    written = json.dumps(value, indent=unit, ensure_ascii=text.isascii())
    return written.replace("\n", _newline(text) + indent)
