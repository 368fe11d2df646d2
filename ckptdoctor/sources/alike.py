"""Whether two ranges of files hold the same bytes."""

from __future__ import annotations

from .base import Source, Span, Unavailable

PART = 8 * 1024 * 1024
"""Bytes of each that are in memory at a time."""


def alike(left: Source, one: Span, right: Source, two: Span) -> bool:
    """Compare span ``one`` of ``left`` with span ``two`` of ``right``, both with a length.

    Raises Unavailable where bytes of one of them cannot be had, or its file ends early.
    """
    assert one.length is not None
    assert two.length is not None
    if one.length != two.length:
        return False
    for done in range(0, one.length, PART):
        size = min(PART, one.length - done)
        if _read(left, one, done, size) != _read(right, two, done, size):
            return False
    return True


def _read(source: Source, span: Span, done: int, size: int) -> bytes:
    (found,) = source.read_many([Span(span.path, span.start + done, size)])
    if isinstance(found, Unavailable):
        raise found
    if len(found) != size:
        raise Unavailable(f"{source.label}/{span.path}: it ends early")
    return found
