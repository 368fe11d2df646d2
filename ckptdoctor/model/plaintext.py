"""Names out of a checkpoint as plain text, which acts nowhere: neither on a terminal nor in the log of a CI runner."""

from __future__ import annotations

import re

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
