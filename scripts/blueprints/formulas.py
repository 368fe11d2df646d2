"""The simplest formula over configuration keys that gives a number in every observation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from .conditions import FEWEST, Env

Vector = tuple[int, ...]
"""One number per observation."""
Term = tuple[str, Vector]
"""The text of a formula with what it gives."""


class Formulas:
    """Formulas over the whole-number keys that vary, for one set of observations."""

    def __init__(self, envs: Sequence[Env]) -> None:
        keys = [k for k, v in envs[0].items() if type(v) is int and "token" not in k]
        self._keys = {
            k: tuple(env[k] for env in envs) for k in keys if all(type(env.get(k)) is int for env in envs)
        }
        self._keys = {
            k: vector for k, vector in self._keys.items() if len(set(vector)) > 1 and min(vector) >= 0
        }
        self._count = len(envs)
        self._products: dict[Vector, str] = {}
        if self._count >= FEWEST:
            for text, vector in _monomials(list(self._keys.items())):
                self._products.setdefault(vector, text)

    def find(self, target: Vector) -> str | None:
        """The simplest formula equal to `target` in every observation, else None."""
        if len(set(target)) == 1 and target[0] <= 4:
            return str(target[0])
        if self._count < FEWEST or len(set(target)) == 1:
            return None
        return self._products.get(target) or self._sum(target) or self._triple(target)

    def _sum(self, target: Vector) -> str | None:
        for constant in (1, 2):
            text = self._products.get(tuple(x - constant for x in target))
            if text:
                return f"{text} + {constant}"
        best: str | None = None
        for vector, text in self._products.items():
            if any(x >= t for x, t in zip(vector, target, strict=True)):
                continue
            rest = self._products.get(_less(target, vector))
            if rest and (text + rest).count("/") <= 1:
                found = f"{text} + {rest}"
                best = min(best or found, found, key=lambda s: (s.count("/"), s.count("*"), len(s), s))
        return best

    def _triple(self, target: Vector) -> str | None:
        """Products of three keys, or a sum of three terms."""
        for key, vector in self._keys.items():
            quotient = _divided(target, vector)
            rest = self._products.get(quotient) if quotient is not None else None
            if rest and "/" not in rest and "+" not in rest:
                return f"{rest}*{key}"
        short = [(v, t) for v, t in self._products.items() if "/" not in t and t.count("*") <= 2]
        for vector, text in short:
            rest_of = _less(target, vector)
            if min(rest_of) > 0 and text.count("*") <= 1 and (rest := self._sum(rest_of)):
                return f"{text} + {rest}"
        return None


def _monomials(keys: Sequence[Term]) -> Iterator[Term]:
    """Products and quotients of few keys and small numbers, from the simplest."""
    pairs = [(f"{a}*{b}", _times(v, w)) for (a, v), (b, w) in combinations(keys, 2)]
    pairs += [(f"{a}*{a}", _times(v, v)) for a, v in keys]
    yield from _multiples(keys)
    yield from _multiples(pairs)
    for term in [*keys, *pairs]:
        yield from _quotients(term, keys)


def _multiples(terms: Sequence[Term]) -> Iterator[Term]:
    yield from terms
    for factor in (2, 3, 4):
        yield from ((f"{factor}*{text}", tuple(factor * x for x in vector)) for text, vector in terms)


def _quotients(term: Term, keys: Sequence[Term]) -> Iterator[Term]:
    """One term divided by each key, and by small numbers, where that leaves no rest."""
    text, vector = term
    for key, divisor in keys:
        quotient = _divided(vector, divisor)
        if quotient is not None:
            yield f"{text}/{key}", quotient
            if text.count("*") <= 1:
                yield f"2*{text}/{key}", tuple(2 * x for x in quotient)
    for number in (2, 4):
        quotient = _divided(vector, (number,) * len(vector))
        if quotient is not None:
            yield f"{text}/{number}", quotient


def _times(one: Vector, other: Vector) -> Vector:
    return tuple(x * y for x, y in zip(one, other, strict=True))


def _less(whole: Vector, part: Vector) -> Vector:
    return tuple(x - y for x, y in zip(whole, part, strict=True))


def _divided(whole: Vector, divisor: Vector) -> Vector | None:
    if all(divisor) and all(x % y == 0 for x, y in zip(whole, divisor, strict=True)):
        return tuple(x // y for x, y in zip(whole, divisor, strict=True))
    return None
