"""The files of one commit of a model on the Hub, as a Source."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from huggingface_hub import hf_hub_url
from huggingface_hub.utils import build_hf_headers

from ..base import Span, Stat, Unavailable
from .listing import listing
from .names import HubName
from .ranges import fetch

_Part: TypeAlias = tuple[int, bytes | Unavailable]
_IN_FLIGHT = 64
_NEAR = 32_768
"""Bytes between two spans of a file that are fetched along rather than asked for apart: a round trip costs more."""


class HubSource:
    """A model on the Hub, pinned to one commit when it is opened. Reads ranges only."""

    def __init__(self, name: HubName, endpoint: str | None = None) -> None:
        """Ask for the commit and its files. Raises HubError (an OSError) with a message for the user."""
        found = listing(name, endpoint)
        self.label = found.repo
        self.revision = found.commit
        self._entries = found.entries
        self._endpoint = endpoint
        self._headers: dict[str, str] = build_hf_headers(library_name="ckptdoctor")

    def entries(self) -> dict[str, Stat]:
        """Return every file of the commit (depth ≤ 3), by its path."""
        return dict(self._entries)

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span; up to 64 requests are under way at once."""
        wanted = [self._sized(span) for span in spans if span.path in self._entries]
        joined = _joined(wanted)
        if len(joined) < 2:
            chunks = [self._fetch(*part) for part in joined]
        else:
            with ThreadPoolExecutor(min(_IN_FLIGHT, len(joined))) as pool:
                chunks = list(pool.map(lambda part: self._fetch(*part), joined))
        got: dict[str, list[_Part]] = {}
        for (path, start, _), chunk in zip(joined, chunks, strict=True):
            got.setdefault(path, []).append((start, chunk))
        return [_cut(self._sized(span), got.get(span.path, [])) for span in spans]

    def _sized(self, span: Span) -> Span:
        known = self._entries.get(span.path)
        if known is None:
            return span._replace(length=None)
        left = max(0, known.size - span.start)
        return span._replace(length=left if span.length is None else min(span.length, left))

    def _fetch(self, path: str, start: int, end: int) -> bytes | Unavailable:
        url = hf_hub_url(self.label, path, revision=self.revision, endpoint=self._endpoint)
        found = fetch(url, start, end - start, self._headers)
        return Unavailable(f"{path}: {found}") if isinstance(found, Unavailable) else found


def _joined(spans: Sequence[Span]) -> list[tuple[str, int, int]]:
    """Return (file, begin, end) of what to ask for, neighbours in one request, nothing for what is empty."""
    joined: list[tuple[str, int, int]] = []
    for path, start, length in sorted(span for span in spans if span.length):
        end = start + (length or 0)
        if joined and joined[-1][0] == path and start <= joined[-1][2] + _NEAR:
            joined[-1] = path, joined[-1][1], max(joined[-1][2], end)
        else:
            joined.append((path, start, end))
    return joined


def _cut(span: Span, parts: list[_Part]) -> bytes | Unavailable:
    """Return the bytes of ``span`` out of those that were fetched of its file."""
    if span.length is None:
        return Unavailable(f"{span.path}: no such file")
    if not span.length:
        return b""
    start, data = next(part for part in reversed(parts) if part[0] <= span.start)
    return data if isinstance(data, Unavailable) else data[span.start - start :][: span.length]
