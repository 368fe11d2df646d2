"""Where a JSON pointer lies in a JSON text: a scanner that is only run once something is to be shown.

It walks texts that a JSON parser has accepted, so it can skip values without checking them.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\s]+")
_TOKENS = re.compile(r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")(?P<colon>\s*:)?|[\[\]{},]', re.DOTALL)
_BRACKETS = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Member:
    """One member of an object (or element of an array): where its key and its value begin."""

    __slots__ = ("at", "value")

    def __init__(self, at: int, value: int) -> None:
        self.at = at
        self.value = value


class _Frame:
    """An object or array that a scan is inside of."""

    __slots__ = ("key", "number", "object", "seen")

    def __init__(self, is_object: bool) -> None:
        self.object = is_object
        self.key = ""
        self.number = 0
        self.seen: set[str] = set()

    @property
    def step(self) -> str:
        return self.key if self.object else str(self.number)


class Spans:
    """Positions in one JSON text, worked out level by level and kept."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._levels: dict[int, dict[str, Member]] = {}
        self._lines: list[int] | None = None

    def locate(self, pointer: str) -> tuple[int, int] | None:
        """Return line and column (1-based, in characters) of the member that ``pointer`` names.

        Of duplicate keys the last is meant, as it is the one JSON readers keep. None when there is no such member.
        """
        member = Member(self._skip(0), self._skip(0))
        for token in _tokens(pointer):
            found = self._level(member.value).get(token)
            if found is None:
                return None
            member = found
        return self.place(member.at)

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column (1-based) of a character offset."""
        if self._lines is None:
            self._lines = [0] + [match.end() for match in re.finditer("\n", self._text)]
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def duplicates(self, limit: int) -> Iterator[tuple[str, str, int]]:
        """Yield pointer, key and offset of each repetition of a key within one object, at most ``limit``.

        One pass over the text, whatever its depth.
        """
        stack: list[_Frame] = []
        for match in _TOKENS.finditer(self._text):
            token = match[0]
            if token in ("{", "["):
                stack.append(_Frame(token == "{"))
            elif token in ("}", "]"):
                stack.pop()
            elif token == ",":
                stack[-1].number += 1
            elif match["colon"]:
                frame = stack[-1]
                frame.key = _unquote(match["text"])
                if frame.key in frame.seen:
                    yield "".join(f"/{_escaped(outer.step)}" for outer in stack), frame.key, match.start()
                    limit -= 1
                    if limit <= 0:
                        return
                frame.seen.add(frame.key)

    def _level(self, start: int) -> dict[str, Member]:
        if start not in self._levels:
            self._levels[start] = dict(self._members(start))
        return self._levels[start]

    def _members(self, start: int) -> Iterator[tuple[str, Member]]:
        text = self._text
        if text[start] not in "{[":
            return
        is_object, position, number = text[start] == "{", self._skip(start + 1), 0
        while text[position] not in "}]":
            at = position
            if is_object:
                end = self._end(position)
                key = _unquote(text[position:end])
                position = self._skip(self._skip(end) + 1)
            else:
                key, number = str(number), number + 1
            yield key, Member(at, position)
            position = self._skip(self._end(position))
            if text[position] == ",":
                position = self._skip(position + 1)

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _end(self, position: int) -> int:
        """Return the offset just after the value that begins at ``position``."""
        text = self._text
        first = text[position]
        if first not in "{[":
            match = (_STRING if first == '"' else _SCALAR).match(text, position)
            return match.end() if match else len(text)
        depth = 0
        for match in _BRACKETS.finditer(text, position):
            token = match[0]
            depth += (token in "{[") - (token in "}]")
            if depth == 0:
                return match.end()
        return len(text)


def _unquote(literal: str) -> str:
    return literal[1:-1] if "\\" not in literal else str(json.loads(literal))


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _tokens(pointer: str) -> list[str]:
    """Split an RFC 6901 pointer."""
    if not pointer:
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
