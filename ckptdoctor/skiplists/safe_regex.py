r"""Regular expressions out of a config file, matched only where that cannot take forever.

The targets of an adapter and the skip list of a quantised model may be expressions, and they are hostile input:
``(a+)+$`` takes exponential time in Python's engine. Accepted is what people write: no nested repetition, no back
reference, few unbounded repetitions; and that is walked in time that grows with the name (``automaton``). What it costs
is counted in steps and not by a clock, so the same input has the same answer on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .automaton import END, LAST_BREAK, Automaton, TooLarge, automaton, is_word

MAX_LENGTH = 1000
MAX_REPEATS = 4
"""Unbounded repetitions on one way through an expression."""
MAX_NAME = 128
"""Letters of a module's name."""
MAX_STEPS = 20_000_000
"""Steps of one expression over all names, one for each character: a second or two."""
_NODE = 10
"""Steps for looking at a node of an automaton."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?:)?|\)|[*+?]|\{\d*,?\d*\}|.", re.DOTALL)
_LOOPS = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{2,}\}")


class UnsafeRegex(ValueError):
    """An expression that is not matched, because of what it could cost."""


class Expression:
    """A compiled expression with a budget. Raises UnsafeRegex where that is not enough, ``re.error`` where it is none.

    ``boundary``: a loader wants a part of a dotted name to end where the expression ends.
    """

    def __init__(self, pattern: str, most: int = MAX_REPEATS, *, boundary: bool = False) -> None:
        if len(pattern) > MAX_LENGTH or not is_safe(pattern, most):
            raise UnsafeRegex(pattern[:100])
        try:
            found = automaton(pattern, boundary)
        except TooLarge as error:
            raise UnsafeRegex(pattern[:100]) from error
        self._pattern = pattern
        self._left = MAX_STEPS
        self._from_start = _Walk(found, anywhere=False)
        self._anywhere = _Walk(found, anywhere=True)

    def fullmatch(self, name: str) -> bool:
        """Whether all of ``name`` matches."""
        return self._found(self._from_start, name, whole=True)

    def match(self, name: str) -> bool:
        """Whether ``name`` matches from its start."""
        return self._found(self._from_start, name)

    def search(self, name: str) -> bool:
        """Whether some part of ``name`` matches."""
        return self._found(self._anywhere, name)

    def _found(self, walk: _Walk, name: str, whole: bool = False) -> bool:
        spent = walk.spent
        self._left -= len(name)
        if len(name) > MAX_NAME or self._left < 0:
            raise UnsafeRegex(self._pattern[:100])
        found = walk.accepts(name, whole)
        self._left -= walk.spent - spent
        return found


class _Walk:
    """All ways through an automaton at once: a state is the set of nodes they are at, made when first met."""

    def __init__(self, found: Automaton, *, anywhere: bool) -> None:
        self._nodes = found.nodes
        self._first = frozenset([found.start])
        self._anywhere = anywhere
        """A way may begin at every character."""
        self._numbers: dict[tuple[frozenset[int], str], int] = {}
        self._states: list[tuple[frozenset[int], str]] = []
        self._rows: list[dict[str, tuple[bool, int]]] = []
        self._heads: dict[str, tuple[bool, int]] = {}
        """What the parents of names come to: thousands of experts share one."""
        self.spent = 0
        self._state(self._first, END)

    def accepts(self, name: str, whole: bool) -> bool:
        """Whether ``name`` matches: all of it where ``whole``, else as far as it may."""
        head = name[: name.rfind(".") + 1]
        known = self._heads.get(head)
        if known is None:
            known = self._heads[head] = self._walked(0, head)
        done, number = known
        if number >= 0 and not (done and not whole):
            tail = name[len(head) :]
            more, number = self._walked(number, (*tail[:-1], LAST_BREAK) if tail.endswith("\n") else tail)
            done = done or more
        if done and not whole:
            return True
        return number >= 0 and (self._rows[number].get(END) or self._step(number, END))[0]

    def _walked(self, number: int, chars: Iterable[str]) -> tuple[bool, int]:
        """Return whether a way ended before one of ``chars``, and the state after them (-1: there is none)."""
        rows, ended = self._rows, False
        for char in chars:
            done, number = rows[number].get(char) or self._step(number, char)
            ended = ended or done
            if number < 0:
                break
        return ended, number

    def _step(self, number: int, char: str) -> tuple[bool, int]:
        """Return whether a way ends before ``char``, and the state after it (-1: no way leads on)."""
        at, before = self._states[number]
        reached = self._closure(at, before, char)
        after = set(self._first) if self._anywhere else set()
        for node in reached if char else ():
            test = self._nodes[node].test
            if test is not None and test(char[0]):
                after.update(self._nodes[node].after)
        step = (0 in reached, self._state(frozenset(after), _kind(char)) if after else -1)
        self._rows[number][char] = step
        return step

    def _closure(self, at: frozenset[int], before: str, then: str) -> set[int]:
        """Return the nodes that are reached without a character."""
        reached, left = set(at), list(at)
        while left:
            node = self._nodes[left.pop()]
            if node.test is None and (node.place is None or node.place(before, then)):
                left += [number for number in node.after if number not in reached]
                reached.update(node.after)
        self.spent += _NODE * (len(reached) + len(at))
        return reached

    def _state(self, at: frozenset[int], before: str) -> int:
        key = (at, before)
        if key not in self._numbers:
            self._numbers[key] = len(self._states)
            self._states.append(key)
            self._rows.append({})
        return self._numbers[key]


def _kind(char: str) -> str:
    """Return a character that is as good as ``char`` to what may follow it."""
    return char[:1] if char in (END, ".") else "a" if is_word(char) else "-"


def is_safe(pattern: str, most: int = MAX_REPEATS) -> bool:
    """Whether no way through ``pattern`` repeats more than ``most`` times without bound, and nothing that repeats."""
    open_groups = [_Group()]
    closed = False
    """The token before this one ended a group that holds a repetition."""
    repeated = False
    for token in _TOKEN.findall(pattern):
        if token == "(?" or re.fullmatch(r"\\\d", token):
            return False
        group = open_groups[-1]
        if token == "+" and repeated:  # possessive, from Python 3.11 on; an error before
            return False
        repeated = token.startswith(("*", "+", "?", "{"))
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
