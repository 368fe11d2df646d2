r"""The one place where text out of a checkpoint is made harmless: on a terminal, in a CI log, in JSON.

Whatever a checkpoint, a settings file or a command line says may hold escape sequences, commands to the runner that
shows the log, or half a character. Names are made printable with ``clean``; a finished page goes through ``inert`` and
a JSON document through ``dumps`` (renderers do both), a message on stderr through ``message``. What an exception of
the library says is harmless as well, so ``clean`` and ``inert`` lie in ``model.plaintext``. Markup is for the format
to escape (``markdown.plain``, ``markdown.code``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from ..model.plaintext import clean, inert, marked

__all__ = ["clean", "dumps", "elide", "inert", "marked", "message", "width"]


def message(text: str) -> str:
    """Return a message for stderr: its lines stay lines, and nothing in them acts."""
    return inert("\n".join(map(clean, text.split("\n"))))


def dumps(value: object) -> str:
    r"""Return ``value`` as a JSON document: ASCII, no ``##[``, no lone surrogate and no NaN (both told in words).

    https://datatracker.ietf.org/doc/html/rfc8259#section-8.2: what a reader makes of half a pair cannot be foreseen.
    """
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, indent=2)
    except ValueError:  # JSON has no word for NaN and infinities
        text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, indent=2)
    if r"\ud" in text:
        pair = r"(\\\\|\\ud[89ab]..\\ud[c-f]..)|\\(?=ud[89a-f])"
        text = re.sub(pair, lambda found: found[1] or r"\\", text)
    return text.replace("##[", r"\u0023#[") + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_finite(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return value


def width(text: str) -> int:
    """Return how many terminal columns ``text`` takes (wide characters two, combining ones none)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def elide(text: str, columns: int, mark: str = "…") -> str:
    """Return ``text`` cut in the middle to fit ``columns``: both ends of a path say more than its middle."""
    if width(text) <= columns:
        return text
    room = max(columns - width(mark), 0)
    tail = _take(text[::-1], room - room // 3)[
        ::-1
    ]  # the end of a module's name tells it from its neighbours
    return (_take(text, room - width(tail)) + mark + tail) if columns > width(mark) else _take(text, columns)


def _take(text: str, columns: int) -> str:
    if text.isascii():
        return text[:columns]
    used = 0
    for position, char in enumerate(text):
        used += width(char)
        if used > columns:
            return text[:position]
    return text
