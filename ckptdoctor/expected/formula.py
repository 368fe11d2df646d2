"""Sums of products over configuration keys, such as `2*num_key_value_heads*head_dim + hidden_size`.

This is a notation for shapes, not a language: whole numbers, keys, `*`, `/` (rounded down, as every
class does with heads that do not divide its width) and `+`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:(?P<key>[A-Za-z_][\w.]*)|(?P<number>\d{1,9})|(?P<operator>[*+/]))")

# No tensor is that large, so nothing stored has such a dimension; past it a number is noise and only costs time.
_LARGEST = 1 << 62


class Unknowable(Exception):
    """A value that the configuration does not give; the message says which and why.

    ``fault`` is "negative", "negative count" (of layers, of experts), "zero" (a divisor), "huge" (a count) or "type"
    where the number under ``key`` is to blame, else empty.
    """

    def __init__(self, message: str, key: str = "", fault: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.fault = fault


class BadFormula(ValueError):
    """A formula in the rulebook that cannot be read."""


class _Factor(NamedTuple):
    divide: bool
    value: int | str


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[tuple[_Factor, ...], ...]:
    """Read a formula as a sum of products; raises BadFormula where it is not one."""
    terms: list[tuple[_Factor, ...]] = []
    factors: list[_Factor] = []
    operator: str | None = "*"
    position, text = 0, text.rstrip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or (token["operator"] is None) is (operator is None):
            raise BadFormula(f"cannot read {text!r} at character {position}")
        position = token.end()
        if token["operator"]:
            operator = token["operator"]
            if operator == "+":
                terms.append(tuple(factors))
                factors, operator = [], "*"
            continue
        factors.append(_Factor(operator == "/", token["key"] or int(token["number"])))
        operator = None
    if operator is not None or not factors:
        raise BadFormula(f"{text!r} ends too soon")
    return (*terms, tuple(factors))


def evaluate(text: str, lookup: Callable[[str], int]) -> int:
    """Compute a formula; raises Unknowable where a division is by zero or a key has no value.

    Products beyond any tensor's size stop at 2^62.
    """
    return sum(_product(text, factors, lookup) for factors in parse(text))


def _product(text: str, factors: tuple[_Factor, ...], lookup: Callable[[str], int]) -> int:
    product = 1
    for divide, value in factors:
        number = lookup(value) if isinstance(value, str) else value
        if not divide:
            product = min(product * number, _LARGEST)
        elif number == 0:
            raise Unknowable(f"{text} divides by zero", str(value), "zero")
        else:
            product //= number
    return product
