"""Names from a checkpoint on a terminal: control characters escaped, columns counted, long ones elided."""

from __future__ import annotations


def clean(text: str) -> str:
    r"""Return ``text`` with everything unprintable escaped (``\x1b``, ``\u202e``, ``\udc80``); idempotent.

    Unprintable includes line breaks, bidirectional overrides and zero-width characters: a tensor's name must
    neither move the cursor nor read differently from what it is (https://trojansource.codes).
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
