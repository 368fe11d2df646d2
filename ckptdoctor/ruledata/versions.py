"""Versions of packages and intervals of them, compared without `packaging`, which a run does not import."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

Spec: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""``((">=", (0, 8, 5)), ("<", (0, 28)))``: all must hold; empty holds for every version."""

_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}

_VERSION = re.compile(
    r"\s*v?(?:\d+!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?P<pre>[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?"
    r"(?P<post>-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?"
    r"(?P<dev>[-_.]?dev[-_.]?\d*)?"
    r"(?:\+[a-z0-9._-]+)?\s*\Z",
    re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=4096)
def parse_version(text: str) -> tuple[int, ...]:
    """Return ``text`` as comparable numbers: ``0.8.5`` → (0, 8, 5), a pre-release sorts just below its release.

    ``rc``/``a``/``b``/``dev`` add a trailing -1 and ``post`` its number plus 1, both in the fifth place at least, so
    that 0.6.3.post1 lies between 0.6.3 and 0.6.3.1; a local part (``+cu124``) is dropped. Raises ValueError when
    ``text`` is not a PEP 440 version.
    """
    found = _VERSION.match(text)
    if found is None:
        raise ValueError(f"not a version: {text!r}")
    release = tuple(map(int, found["release"].split(".")))
    if found["pre"] or (found["dev"] and not found["post"]):
        return release + (0,) * (4 - len(release)) + (-1,)
    if found["post"]:
        return release + (0,) * (4 - len(release)) + (int(re.sub(r"\D", "", found["post"]) or 0) + 1,)
    return release


def matches(spec: Sequence[Sequence[Any]], version: str) -> bool:
    """Whether ``version`` satisfies every clause of ``spec``."""
    return holds(spec, parse_version(version))


def holds(spec: Sequence[Sequence[Any]], version: tuple[int, ...]) -> bool:
    """Whether a parsed version satisfies every clause of ``spec``; short versions count as padded with zeros."""
    for sign, bound in spec:
        width = max(len(version), len(bound))
        have = version + (0,) * (width - len(version))
        if not _COMPARE[sign](have, tuple(bound) + (0,) * (width - len(bound))):
            return False
    return True
