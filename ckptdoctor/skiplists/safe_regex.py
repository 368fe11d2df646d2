"""Regular expressions out of a config file, matched only where that cannot take forever.

The targets of an adapter and the skip list of a quantised model may be expressions, and they are hostile input:
``(a+)+$`` takes exponential time in Python's engine. Accepted is what people write: no nested repetition, no back
reference, few unbounded repetitions.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable

MAX_LENGTH = 1000
MAX_REPEATS = 4
"""Unbounded repetitions; matching a name of n letters costs at most about n to this power, divided by its factorial."""
MAX_NAME = 128
"""Letters of a module's name: with the repetitions above, the worst match takes some tenths of a second."""
DEADLINE_S = 1.0
"""Seconds one expression may cost over all names."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?:)?|\)|[*+?]|\{\d*,?\d*\}|.", re.DOTALL)
_LOOPS = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{2,}\}")


class Untame(ValueError):
    """An expression that is not matched, because of what it could cost."""


class Expression:
    """A compiled expression with a budget. Raises Untame where it is not tame, ``re.error`` where it is none.

    ``end`` is our own, put behind the pattern: what a loader wants to follow it.
    """

    def __init__(self, pattern: str, most: int = MAX_REPEATS, end: str = "") -> None:
        if len(pattern) > MAX_LENGTH or not is_tame(pattern, most):
            raise Untame(pattern[:100])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._compiled = re.compile(f"(?:{pattern}){end}" if end else pattern)
        self._left = DEADLINE_S

    def fullmatch(self, name: str) -> bool:
        """Whether all of ``name`` matches."""
        return self._found(self._compiled.fullmatch, name)

    def match(self, name: str) -> bool:
        """Whether ``name`` matches from its start."""
        return self._found(self._compiled.match, name)

    def search(self, name: str) -> bool:
        """Whether some part of ``name`` matches."""
        return self._found(self._compiled.search, name)

    def _found(self, method: Callable[[str], re.Match[str] | None], name: str) -> bool:
        if len(name) > MAX_NAME:
            raise Untame(self._compiled.pattern[:100])
        begun = time.perf_counter()
        found = method(name) is not None
        self._left -= time.perf_counter() - begun
        if self._left < 0:
            raise Untame(self._compiled.pattern[:100])
        return found


def is_tame(pattern: str, most: int = MAX_REPEATS) -> bool:
    """Whether no way through ``pattern`` repeats more than ``most`` times without bound, and nothing that repeats."""
    open_groups = [_Group()]
    closed = False
    """The token before this one ended a group that holds a repetition."""
    for token in _TOKEN.findall(pattern):
        if token == "(?" or re.fullmatch(r"\\\d", token):
            return False
        group = open_groups[-1]
        if token.startswith("(") and token[:2] in ("(", "(?"):
            open_groups.append(_Group())
        elif token == ")":
            if len(open_groups) == 1:
                return False
            closed = open_groups.pop().most > 0
            open_groups[-1].add(group.most)
            continue
        elif token == "|":
            group.branch = 0
        elif _LOOPS.fullmatch(token):
            if closed:
                return False
            group.add(1)
        closed = False
    return len(open_groups) == 1 and open_groups[0].most <= most and "(?" not in pattern.replace("(?:", "")


class _Group:
    """How often a group repeats without bound: in this branch of it, and in the branch that does most."""

    def __init__(self) -> None:
        self.branch = 0
        self.most = 0

    def add(self, loops: int) -> None:
        self.branch += loops
        self.most = max(self.most, self.branch)
