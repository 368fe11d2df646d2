"""Edits of ``rules/loaders/*.yaml`` that leave every other line, comments included, as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def block(text: str, *keys: str) -> tuple[int, int]:
    """Return (first line, line after the last) of the mapping below ``keys``, its own line not counted.

    Comments before a key belong to it. Raises KeyError when there is no such key.
    """
    lines, begin, end, indent = text.splitlines(), 0, len(text.splitlines()), 0
    for key in keys:
        head = re.compile(rf" {{{indent}}}(?:{re.escape(key)}|\"{re.escape(key)}\"):(?:\s|$)")
        at = next((n for n in range(begin, end) if head.match(lines[n])), None)
        if at is None:
            raise KeyError("/".join(keys))
        begin = at + 1
        deeper = re.compile(rf" {{{indent + 1}}}|\s*$|-" if indent else r"[ ]|\s*$")
        end = next((n for n in range(begin, end) if not deeper.match(lines[n])), end)
        indent += 2
    return begin, end


def replaced(text: str, lines: list[str], *keys: str) -> str:
    """Return ``text`` with ``lines`` in place of what is below ``keys``."""
    begin, end = block(text, *keys)
    old = text.splitlines()
    return "\n".join([*old[:begin], *lines, *old[end:]]) + "\n"


def release_lines(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line a release: ``"0.33.0": {date: 2026-11-02, read: [loading], ran: true}``."""
    return [f"    {json.dumps(version)}: {flow(about)}" for version, about in table.items()]


def flow(value: Any) -> str:
    """Return plain data as YAML on one line, with quotes only where they are needed."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_][\w. /()-]*|\d{4}-\d\d-\d\d", value):
        return json.dumps(value)
    return str(value)
