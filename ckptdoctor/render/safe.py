r"""The one place where text out of a checkpoint is made harmless: on a terminal, in a CI log, in JSON.

Whatever a checkpoint, a settings file or a command line says may hold escape sequences, commands to the runner that
shows the log, or half a character. Names are made printable with ``clean``; a finished page goes through ``inert`` and
a JSON document through ``dumps`` (renderers do both), a message on stderr through ``message``. Markup is for the format
to escape (``markdown.plain``, ``markdown.code``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

_UNSEEN = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10)))
) | frozenset(map(chr, (0xFFA0, *range(0xE0100, 0xE01F0))))
"""Characters that Python calls printable and that take no ink: Default_Ignorable_Code_Point in
https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt. A comparison by culture looks past them too."""


_SGR = r"(?:\x1b\[[\d;]*m)"
"""A colour of ours, which changes nothing about what a line says."""


def clean(text: str) -> str:
    r"""Return ``text`` with everything unprintable escaped (``\x1b``, ``\u202e``, ``\udc80``); idempotent.

    Unprintable includes line breaks, bidirectional overrides and zero-width characters: a tensor's name must
    neither move the cursor nor read differently from what it is (https://trojansource.codes), nor command a runner
    (``inert``).
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if char.isprintable() and char not in _UNSEEN else _escape(char) for char in text)
    return text.replace("##[", r"\x23#[") if "##[" in text else text


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def inert(text: str) -> str:
    r"""Return ``text``, lines of a log, with nothing in them that a CI runner takes for a command; idempotent.

    GitHub's acts on ``##[command]`` anywhere in a line and on ``::command::`` after blanks at its start
    (https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs). The sign in front is escaped as
    ``clean`` would: ``\x23#[error]``, ``\x3a:error::``.
    """
    # Here and below patterns are compiled when they are first needed: hardly ever.
    return marked(re.sub(rf"(?m)^((?:\s|{_SGR})*):(?={_SGR}*:)", r"\1\\x3a", text) if "::" in text else text)


def marked(text: str) -> str:
    r"""Return ``text`` with ``##[`` escaped, for a line that is a command of our own."""
    return re.sub(rf"#(?={_SGR}*#{_SGR}*\[)", r"\\x23", text) if "#" in text and "[" in text else text


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
