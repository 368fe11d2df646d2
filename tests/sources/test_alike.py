"""Ranges of two sources, byte by byte."""

from __future__ import annotations

import pytest

from ckptdoctor.sources import alike as room
from ckptdoctor.sources.alike import alike
from ckptdoctor.sources.base import Span, Unavailable
from ckptdoctor.sources.memory import MemorySource


def source(**files: bytes) -> MemorySource:
    return MemorySource("x", files)


@pytest.mark.parametrize("part", [1, 3, 1000])
def test_only_the_same_bytes_are_alike(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PART", part)
    left, right = source(a=b"..12345678"), source(b=b"12345678", c=b"12345679")
    assert alike(left, Span("a", 2, 8), right, Span("b", 0, 8))
    assert not alike(left, Span("a", 2, 8), right, Span("c", 0, 8))
    assert alike(left, Span("a", 2, 7), right, Span("c", 0, 7))
    assert not alike(left, Span("a", 2, 7), right, Span("b", 0, 8))
    assert alike(left, Span("a", 0, 0), right, Span("b", 8, 0))


def test_what_cannot_be_read_is_no_difference() -> None:
    left, right = source(a=b"1234"), source(a=b"1234")
    with pytest.raises(Unavailable, match="ends early"):
        alike(left, Span("a", 0, 5), right, Span("a", 0, 5))
    with pytest.raises(Unavailable, match="b"):
        alike(left, Span("a", 0, 4), right, Span("b", 0, 4))
