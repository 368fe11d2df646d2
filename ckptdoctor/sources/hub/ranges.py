"""Byte ranges of files on the Hub, never more of a file than was asked for."""

from __future__ import annotations

import time
from typing import Any

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status, http_stream_backoff

from ..base import Unavailable

_TRIES = 5
_TIMEOUT = 30.0
"""Seconds until a connection that gives nothing is given up on."""
_WAIT = 0.25
"""Seconds before the first repetition of a request that failed; each further one takes twice as long."""
_SKIPPED = 1_000_000
"""Bytes before the wanted ones that are read and thrown away where a server sends a whole file instead of a range."""


def fetch(url: str, start: int, length: int, headers: dict[str, str]) -> bytes | Unavailable:
    """Return ``length`` bytes of ``url`` from ``start`` on (fewer where the file ends), or why they cannot be had.

    An answer that breaks off is taken up where it broke; 429 and 5xx are waited out as the Hub asks for
    (``huggingface_hub.utils.http_stream_backoff``). Redirects are followed; credentials go to the Hub's host alone.
    """
    got = bytearray()
    why = "the connection broke off again and again"
    for attempt in range(_TRIES):
        try:
            whole = _part(url, start + len(got), length - len(got), headers, got)
        except HfHubHTTPError as error:
            return Unavailable(f"the Hub answers {error.response.status_code}")
        except _Refused as error:
            return Unavailable(str(error))
        except Exception as error:  # the errors of the HTTP library that huggingface_hub chose
            whole, why = False, type(error).__name__
        if whole:
            return bytes(got)
        time.sleep(0.1 * 2**attempt)
    return Unavailable(why)


class _Refused(Exception):
    """The server does not do what was asked."""


def _part(url: str, start: int, length: int, headers: dict[str, str], got: bytearray) -> bool:
    """Add to ``got`` what the server sends of the range; return whether that is all there is of it."""
    asked = {**headers, "Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
    options: dict[str, Any] = {
        "headers": asked,
        "follow_redirects": True,
        "timeout": _TIMEOUT,
        "base_wait_time": _WAIT,
    }
    with http_stream_backoff("GET", url, **options) as response:
        if response.status_code == 416:  # nothing there: the file ends before
            return True
        hf_raise_for_status(response)
        skip, there = _promised(response, start)
        wanted = min(length, there)
        before = len(got)
        for chunk in response.iter_raw():
            if skip:
                chunk, skip = chunk[skip:], max(0, skip - len(chunk))
            got += chunk[: wanted - (len(got) - before)]
            if len(got) - before >= wanted:
                break  # closing the response drops the rest of the file, where the server sends all of it
        return len(got) - before >= wanted


def _promised(response: Any, start: int) -> tuple[int, int]:
    """Return how many bytes come before the wanted ones, and how many there are from the wanted ones on."""
    total = response.headers.get("Content-Length", "")
    size = int(total) if total.isdecimal() else 1 << 62
    if response.status_code != 206:
        if start > _SKIPPED:
            raise _Refused("the server ignores Range: it would send the whole file")
        return start, max(0, size - start)
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if first.strip() != str(start):
        raise _Refused(f"the server sends another range than bytes={start}-")
    return 0, size
