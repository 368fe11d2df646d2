"""Regular expressions out of a config file, matched only where that cannot take forever.

An adapter_config.json may hold expressions, and it is hostile input: ``(a+)+$`` takes exponential time in Python's
engine. Accepted is what PEFT's users write: no nested repetition, no back reference, few unbounded repetitions.
"""

from __future__ import annotations

import re
import time
import warnings

MAX_LENGTH = 1000
MAX_REPEATS = 4
"""Unbounded repetitions; matching a name of n letters costs at most about n to this power, divided by its factorial."""
DEADLINE_S = 1.0
"""Seconds one expression may cost over all names."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?:)?|\)|[*+?]|\{\d*,?\d*\}|.", re.DOTALL)
_LOOPS = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{2,}\}")


class Untame(ValueError):
    """An expression that is not matched, because of what it could cost."""


class Expression:
    """A compiled expression with a budget. Raises Untame where it is not tame, ``re.error`` where it is none."""

    def __init__(self, pattern: str, most: int = MAX_REPEATS) -> None:
        if len(pattern) > MAX_LENGTH or not is_tame(pattern, most):
            raise Untame(pattern[:100])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._compiled = re.compile(pattern)
        self._left = DEADLINE_S

    def fullmatch(self, name: str) -> bool:
        """Whether all of ``name`` matches."""
        begun = time.perf_counter()
        found = self._compiled.fullmatch(name[:MAX_LENGTH]) is not None
        self._left -= time.perf_counter() - begun
        if self._left < 0:
            raise Untame(self._compiled.pattern[:100])
        return found


def is_tame(pattern: str, most: int = MAX_REPEATS) -> bool:
    """Whether ``pattern`` repeats at most ``most`` times without bound, and nothing that repeats itself."""
    loops = 0
    groups = [False]
    """Per open group: whether it holds a repetition."""
    closed = False
    for token in _TOKEN.findall(pattern):
        if token == "(?" or re.fullmatch(r"\\\d", token):
            return False
        if token.startswith("("):
            groups.append(False)
        elif token == ")":
            if len(groups) == 1:
                return False
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
            continue
        elif _LOOPS.fullmatch(token):
            loops += 1
            if closed or loops > most:
                return False
            groups[-1] = True
        closed = False
    return len(groups) == 1 and "(?" not in pattern.replace("(?:", "")
