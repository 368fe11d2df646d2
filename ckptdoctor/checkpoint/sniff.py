"""What a file is that should have been something else, told from its first bytes."""

from __future__ import annotations

import re

_MAGICS = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"GGUF", "gguf"),
    (b"version https://git-lfs", "git-lfs"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_HTML = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)
_LINK = re.compile(rb"[\w.~@+/\\-]*[/\\](blobs|snapshots)[/\\][\w./\\-]+\s*\Z")


def kind(head: bytes) -> str | None:
    """Return ``zip pickle gguf html json symlink-text nul git-lfs`` from the first ~256 bytes, None when unsure.

    ``symlink-text`` is the target of a Hub-cache link committed as the content of a file.
    """
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if _PICKLE.match(head):
        return "pickle"
    if _HTML.match(head):
        return "html"
    if _LINK.match(head):
        return "symlink-text"
    if head and not head.strip(b"\0"):
        return "nul"
    if head.lstrip()[:1] in (b"{", b"[") and b"\0" not in head[:8]:
        return "json"
    return None
