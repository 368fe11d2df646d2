"""What somebody pasted (a message, a log, a whole traceback) without what surrounds the messages in it."""

from __future__ import annotations

import re

MAX_TEXT = 64 * 1024
"""Characters looked at, from the end: what was raised last is what the user saw."""
MAX_LINE = 4000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LEVEL = r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)"
_PREFIXES = tuple(
    map(
        re.compile,
        (
            r"\s*>\s",  # quoted in a mail
            r"\([A-Za-z]\w{0,40}[^()]{0,40}\)\s(?=\s*\S)",  # (EngineCore_0 pid=4711)
            r"\[rank\d+\]:\s?",
            rf"{_LEVEL} \d\d-\d\d \d\d:\d\d:\d\d \[?[\w./-]+:\d+\]\s?",  # vLLM's logger
            rf"\[?\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[,.\d]*Z?\]?(?: -)?(?: [\w.]+ -)?(?: {_LEVEL}(?: -|:)?)?\s",
        ),
    )
)
"""What loggers and launchers put before a line."""
_FRAME = re.compile(r"(?P<indent>\s*)File \"[^\"]{0,500}\", line \d+(?:, in .*)?$")
_BARE = re.compile(r"\s*(?:\w+\.)*\w+(?:Error|Exception):?\s*$")
_POINTERS = re.compile(r"[\s~^]*$")


def said(text: str) -> str:
    """Return the end of ``text`` without colours, log prefixes, and the frames of tracebacks with their source lines.

    Source quotes the very words that errors are made of. Only where an exception has no message (``assert a == b``)
    is its last source line what it says.
    """
    lines = (line[:MAX_LINE] for line in _ANSI.sub("", text[-MAX_TEXT:]).splitlines())
    return "\n".join(_without_frames([_unprefixed(line) for line in lines]))


def _unprefixed(line: str) -> str:
    for prefix in _PREFIXES:
        found = prefix.match(line)
        if found:
            line = line[found.end() :]
    return line


def _without_frames(lines: list[str]) -> list[str]:
    kept: list[str] = []
    source: list[str] = []
    depth: int | None = None
    for line in lines:
        frame = _FRAME.match(line)
        if frame:
            depth, source = len(frame["indent"]), []
        elif depth is not None and (not line.strip() or len(line) - len(line.lstrip()) > depth):
            source += [] if _POINTERS.match(line) else [line]
        else:
            kept += source[-1:] if depth is not None and _BARE.match(line) else []
            depth = None
            kept.append(line)
    return kept
