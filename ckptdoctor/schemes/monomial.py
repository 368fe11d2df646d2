"""One dimension of a tensor as a product: ``out``, ``in*bits/32``, ``ceil(in/group)``, ``16*ceil(in/64)``.

Evaluated when all its variables are known, and solved for the one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from math import prod
from typing import NamedTuple

_SYNTAX = re.compile(r"(?P<ceil>(?P<times>(?:\d+\*)*)ceil\()?(?P<body>[a-z0-9*/]+)(?(ceil)\))")
_NUMBER = re.compile(r"\d+")
_PART = re.compile(r"([*/]?)([a-z]+|\d+)")


class Monomial(NamedTuple):
    """``constant × Π over / (divisor × Π under)``, if ``ceil`` rounded up and then taken ``times``, else exact."""

    over: tuple[str, ...]
    under: tuple[str, ...]
    constant: int
    divisor: int
    ceil: bool
    times: int = 1

    @property
    def variables(self) -> tuple[str, ...]:
        """Names in it."""
        return self.over + self.under

    def value(self, known: Mapping[str, int]) -> int | None:
        """Return its value, None when the division leaves a remainder. KeyError for an unknown variable."""
        top, bottom = self.constant, self.divisor
        for name in self.over:
            top *= known[name]
        for name in self.under:
            bottom *= known[name]
        if bottom == 0 or (top % bottom and not self.ceil):
            return None
        return -(-top // bottom) * self.times

    def solve(self, name: str, result: int, known: Mapping[str, int]) -> int | None:
        """Return the value of ``name`` (which must be in ``over``) that gives ``result``, None when none does.

        Rounding up loses information; the value that needs no rounding is meant.
        """
        rest = self._replace(over=tuple(other for other in self.over if other != name), ceil=False)
        top, bottom = rest.constant, rest.divisor
        for other in rest.over:
            top *= known[other]
        for other in rest.under:
            bottom *= known[other]
        top *= self.times
        return result * bottom // top if top and result * bottom % top == 0 else None


@cache
def parse(text: str) -> Monomial:
    """Parse a dimension. Raises ValueError for anything but one product of names and numbers."""
    found = _SYNTAX.fullmatch(text)
    parts = _PART.findall(found["body"]) if found else []
    if not found or "".join(sign + atom for sign, atom in parts) != found["body"] or parts[0][0]:
        raise ValueError(f"not a product of names and numbers: {text!r}")
    over: list[str] = []
    under: list[str] = []
    constant = divisor = 1
    for place, (sign, atom) in enumerate(parts):
        if place and not sign:
            raise ValueError(f"not a product of names and numbers: {text!r}")
        if atom.isdigit():
            constant, divisor = (
                (constant, divisor * int(atom)) if sign == "/" else (constant * int(atom), divisor)
            )
        else:
            (under if sign == "/" else over).append(atom)
    times = prod(map(int, _NUMBER.findall(found["times"] or "")))
    return Monomial(tuple(over), tuple(under), constant, divisor, found["ceil"] is not None, times)
