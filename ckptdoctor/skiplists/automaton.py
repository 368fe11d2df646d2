"""Expressions as automata: what Python's parser makes of one, as nodes to be walked all at once.

Python's engine tries one way after the other, which takes exponential time for ``a?a?a?aaa``; walking all ways side by
side takes time in proportion to the name (https://swtch.com/~rsc/regexp/regexp1.html). Only whether something matches
is asked, so greed does not count.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

MAX_NODES = 5000
END = ""
"""What follows the last character."""
LAST_BREAK = "\n$"
"""A line break that ends the name: ``$`` matches before it as well."""
Test: TypeAlias = Callable[[str], bool]
Place: TypeAlias = Callable[[str, str], bool]
"""Whether a place is one, between the character before (END at the start) and what follows."""


class TooLarge(ValueError):
    """The expression has too many nodes, or something in it that is no automaton's business."""


class Node(NamedTuple):
    """One step: a character that ``test`` takes, a ``place`` to be at, or neither; then any of ``after``."""

    test: Test | None
    place: Place | None
    after: list[int]


class Automaton(NamedTuple):
    """Nodes, and the one to start from; node 0 is the match."""

    nodes: tuple[Node, ...]
    start: int


@lru_cache(256)
def automaton(pattern: str, boundary: bool) -> Automaton:
    """Return the automaton of ``pattern``; with ``boundary`` a part of a dotted name must end where it ends.

    Raises TooLarge, and what ``re.compile`` raises for what is no expression.
    """
    parser = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parser.parse(pattern)
    build = _Builder()
    start = build.all(tree, build.add(None, _part_ends, [0]) if boundary else 0)
    return Automaton(tuple(build.nodes), start)


class _Builder:
    """Makes nodes from back to front: each is told what comes after it."""

    def __init__(self) -> None:
        self.nodes = [Node(None, None, [])]

    def add(self, test: Test | None, place: Place | None, after: list[int]) -> int:
        """Add a node and return its number."""
        if len(self.nodes) >= MAX_NODES:
            raise TooLarge("too many nodes")
        self.nodes.append(Node(test, place, after))
        return len(self.nodes) - 1

    def all(self, items: Iterable[tuple[object, Any]], after: int) -> int:
        """Add ``items``, one after the other, and return the first node."""
        for op, arg in reversed(list(items)):
            after = self._one(str(op), arg, after)
        return after

    def _one(self, op: str, arg: Any, after: int) -> int:
        if op == "BRANCH":
            return self.add(None, None, [self.all(branch, after) for branch in arg[1]])
        if op == "SUBPATTERN":
            return self.all(arg[-1], after)
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inside = arg
            return self._repeat(least, most, inside, after)
        if op == "AT":
            return self.add(None, _PLACES[str(arg)], [after])
        return self.add(_test(op, arg), None, [after])

    def _repeat(self, least: int, most: int, items: list[tuple[object, Any]], after: int) -> int:
        first = after
        if str(most) == "MAXREPEAT":
            first = self.add(None, None, [after])
            self.nodes[first].after.append(self.all(items, first))
        else:
            for _ in range(most - least):
                first = self.add(None, None, [self.all(items, first), after])
        for _ in range(least):
            first = self.all(items, first)
        return first


def _test(op: str, arg: Any) -> Test:
    if op == "ANY":
        return lambda char: char != "\n"
    if op in ("LITERAL", "NOT_LITERAL"):
        wanted = chr(arg)
        return wanted.__eq__ if op == "LITERAL" else wanted.__ne__
    if op == "RANGE":
        low, high = map(chr, arg)
        return lambda char: low <= char <= high
    if op == "CATEGORY":
        return _CATEGORIES[str(arg)]
    if op == "IN":
        negated = str(arg[0][0]) == "NEGATE"
        tests = [_test(str(item), value) for item, value in arg[negated:]]
        return lambda char: any(test(char) for test in tests) is not negated
    raise TooLarge(f"{op} is not walked")


def is_word(char: str) -> bool:
    r"""Whether ``\w`` matches ``char``."""
    return char.isalnum() or char == "_"


def _ends(before: str, then: str) -> bool:
    return then in (END, LAST_BREAK)


def _part_ends(before: str, then: str) -> bool:
    return before == "." or then == "." or _ends(before, then)


_CATEGORIES: dict[str, Test] = {
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_NOT_DIGIT": lambda char: not char.isdecimal(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda char: not char.isspace(),
    "CATEGORY_WORD": is_word,
    "CATEGORY_NOT_WORD": lambda char: not is_word(char),
}
_PLACES: dict[str, Place] = {
    "AT_BEGINNING": lambda before, then: before == END,
    "AT_BEGINNING_STRING": lambda before, then: before == END,
    "AT_END": _ends,
    "AT_END_STRING": lambda before, then: then == END,
    "AT_BOUNDARY": lambda before, then: is_word(before) is not is_word(then[:1]),
    "AT_NON_BOUNDARY": lambda before, then: is_word(before) is is_word(then[:1]),
}
