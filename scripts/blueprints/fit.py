"""Find the simplest rule that explains every observation: formulas, conditions and index domains.

Nothing is guessed: a rule must hold on all observations, and the caller checks the result on fresh ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

Env = dict[str, Any]
Vector = tuple[int, ...]
When = dict[str, Any]

_FEWEST = 5
"""Observations needed before a formula counts as explained."""


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
        self._wide: dict[Vector, str] = {}
        if self._count >= _FEWEST:
            for text, vector in self._monomials():
                self._products.setdefault(vector, text)

    def find(self, target: Vector) -> str | None:
        """The simplest formula equal to `target` in every observation, else None."""
        if len(set(target)) == 1 and target[0] <= 4:
            return str(target[0])
        if self._count < _FEWEST or len(set(target)) == 1:
            return None
        return self._products.get(target) or self._sum(target) or self._triple(target)

    def _monomials(self) -> Iterator[tuple[str, Vector]]:
        singles = list(self._keys.items())
        yield from singles
        for factor in (2, 3, 4):
            yield from ((f"{factor}*{k}", tuple(factor * x for x in v)) for k, v in singles)
        pairs = [
            (f"{a}*{b}", tuple(x * y for x, y in zip(v, w, strict=True)))
            for (a, v), (b, w) in combinations(singles, 2)
        ]
        pairs += [(f"{a}*{a}", tuple(x * x for x in v)) for a, v in singles]
        yield from pairs
        for factor in (2, 3, 4):
            yield from ((f"{factor}*{k}", tuple(factor * x for x in v)) for k, v in pairs)
        for a, v in [*singles, *pairs]:
            for b, w in singles:
                if all(w) and all(x % y == 0 for x, y in zip(v, w, strict=True)):
                    quotient = tuple(x // y for x, y in zip(v, w, strict=True))
                    yield f"{a}/{b}", quotient
                    if a.count("*") == 1 or "*" not in a:
                        yield f"2*{a}/{b}", tuple(2 * x for x in quotient)
            for divisor in (2, 4):
                if all(x % divisor == 0 for x in v):
                    yield f"{a}/{divisor}", tuple(x // divisor for x in v)

    def _sum(self, target: Vector) -> str | None:
        for constant in (1, 2):
            text = self._products.get(tuple(x - constant for x in target))
            if text:
                return f"{text} + {constant}"
        best: str | None = None
        for vector, text in self._products.items():
            if any(x >= t for x, t in zip(vector, target, strict=True)):
                continue
            rest = self._products.get(tuple(t - x for x, t in zip(vector, target, strict=True)))
            if rest and (text + rest).count("/") <= 1:
                found = f"{text} + {rest}"
                best = min(best or found, found, key=lambda s: (s.count("/"), s.count("*"), len(s), s))
        return best

    def _triple(self, target: Vector) -> str | None:
        """Products of three keys, or a sum of three terms."""
        for a, v in self._keys.items():
            if all(v) and all(t % x == 0 for t, x in zip(target, v, strict=True)):
                rest = self._products.get(tuple(t // x for t, x in zip(target, v, strict=True)))
                if rest and "/" not in rest and "+" not in rest:
                    return f"{rest}*{a}"
        short = [(v, t) for v, t in self._products.items() if "/" not in t and t.count("*") <= 2]
        for vector, text in short:
            rest_of = tuple(t - x for x, t in zip(vector, target, strict=True))
            if min(rest_of) > 0 and text.count("*") <= 1 and (rest := self._sum(rest_of)):
                return f"{text} + {rest}"
        return None


def atoms(envs: Sequence[Env]) -> dict[str, tuple[Any, tuple[bool, ...]]]:
    """Equalities on keys that split the observations: text -> ((key, wanted), truth per observation)."""
    found: dict[str, tuple[Any, tuple[bool, ...]]] = {}
    for key in envs[0]:
        values = [env.get(key) for env in envs]
        plain = {v for v in values if isinstance(v, (bool, str))}
        if len(plain) > 1 and all(isinstance(v, (bool, str)) for v in values):
            for value in sorted(plain, key=lambda v: (v is not True, str(v))):
                found[f"{key}={value}"] = ((key, value), tuple(v == value for v in values))
        elif all(type(v) is int for v in values) and 0 in values and any(values):
            found[f"{key}=0"] = ((key, 0), tuple(v == 0 for v in values))
            found[f"{key}!=0"] = ((key, {"not": 0}), tuple(v != 0 for v in values))
        elif any(v is None for v in values) and not all(v is None for v in values):
            found[f"{key}=null"] = ((key, None), tuple(v is None for v in values))
            found[f"{key}!=null"] = ((key, {"not": None}), tuple(v is not None for v in values))
    return found


def conditions(envs: Sequence[Env]) -> Iterator[tuple[When, tuple[bool, ...]]]:
    """Conditions from the simplest: none, one equality, two."""
    yield {}, (True,) * len(envs)
    single = list(atoms(envs).values())
    for (key, wanted), truth in single:
        yield {key: wanted}, truth
    for ((k1, w1), t1), ((k2, w2), t2) in combinations(single, 2):
        if k1 != k2:
            yield {k1: w1, k2: w2}, tuple(a and b for a, b in zip(t1, t2, strict=True))


def presence(envs: Sequence[Env], present: Sequence[bool]) -> When | None:
    """The condition under which something is there, else None."""
    return next((when for when, truth in conditions(envs) if truth == tuple(present)), None)


def domain(envs: Sequence[Env], sets: Sequence[frozenset[int]]) -> tuple[When, Any] | None:
    """The condition and index domain that give exactly these index sets, else None."""
    candidates = list(_domains(envs))
    filled = {s for s in sets if s}
    if len(filled) == 1 and (count := len(next(iter(filled)))) > 4:  # a number in the code of the class
        candidates.append((count, [frozenset(range(count))] * len(sets)))
    for when, truth in conditions(envs):
        if any(s and not t for s, t in zip(sets, truth, strict=True)):
            continue
        if sum(truth) < _FEWEST and not all(truth):
            continue
        for spelled, indices in candidates:
            if all(s == i for s, i, t in zip(sets, indices, truth, strict=True) if t):
                return when, spelled
    return None


def _domains(envs: Sequence[Env]) -> Iterator[tuple[Any, list[frozenset[int]]]]:
    def numbers(key: str) -> list[int]:
        return [env[key] for env in envs]

    whole = [k for k, v in envs[0].items() if all(type(e.get(k)) is int and 0 <= e[k] <= 64 for e in envs)]
    varying = [k for k in whole if len(set(numbers(k))) > 1]
    stacks = [k for k in varying if k.rpartition(".")[2].endswith(("layers", "layer", "depth"))]
    counts = [k for k in varying if k not in stacks]
    for key in [*stacks, *counts]:
        yield key, [frozenset(range(n)) for n in numbers(key)]
    starts = [k for k in varying if "dense" in k or "start" in k]
    lists = [k for k, v in envs[0].items() if all(isinstance(e.get(k), list) for e in envs)]
    steps = [k for k in varying if "step" in k or "interval" in k]
    for to in stacks:
        stop = numbers(to)
        yield {"from": 1, "to": to}, [frozenset(range(1, n)) for n in stop]
        for start in starts:
            yield (
                {"from": start, "to": to},
                [frozenset(range(a, b)) for a, b in zip(numbers(start), stop, strict=True)],
            )
            yield (
                {"to": to, "from": start, "inverse": True},
                [frozenset(range(min(a, b))) for a, b in zip(numbers(start), stop, strict=True)],
            )
        yield from _listed(envs, lists, {"to": to}, stop)
        yield from _offset(envs, to, stop)
        for step in steps:
            yield from _stepped(envs, lists, step, to, stop)
        for start in starts:
            for end in [k for k in varying if "end_index" in k]:
                for step in steps:
                    yield from _window(envs, start, end, step, to, stop)
    for key in lists:
        lengths = [len(env[key]) for env in envs]
        if len(set(lengths)) > 1 and all(lengths):
            yield {"items": key}, [frozenset(range(n)) for n in lengths]
            yield from _listed(envs, [key], {"items": key}, lengths)


def _offset(envs: Sequence[Env], to: str, stop: list[int]) -> Iterator[Any]:
    """Every n-th layer, counted from an offset of its own: `attn_layer_period` and `attn_layer_offset`."""
    for period in [k for k in envs[0] if k.endswith("period")]:
        offset = f"{period.removesuffix('period')}offset"
        if all(type(env.get(key)) is int for env in envs for key in (period, offset)):
            chosen = [
                frozenset(i for i in range(n) if env[period] and i % env[period] == env[offset])
                for n, env in zip(stop, envs, strict=True)
            ]
            spelled = {"to": to, "every": period, "offset": offset}
            yield spelled, chosen
            rest = [frozenset(range(n)) - s for n, s in zip(stop, chosen, strict=True)]
            yield {**spelled, "inverse": True}, rest


def _listed(envs: Sequence[Env], lists: Iterable[str], spelled: When, stop: list[int]) -> Iterator[Any]:
    for key in lists:
        values = [env[key] for env in envs]
        kinds = {v for value in values for v in value if isinstance(v, (str, bool, int))}
        if all(len(v) == n for v, n in zip(values, stop, strict=True)):
            for kind in sorted(kinds, key=str):
                yes = [frozenset(i for i, v in enumerate(value) if v == kind) for value in values]
                yield {**spelled, "where": key, "is": kind}, yes
        if all(type(k) is int for k in kinds):
            for name, keep in (("in", True), ("except", False)):
                chosen = [
                    frozenset(i for i in range(n) if (i in v) is keep)
                    for v, n in zip(values, stop, strict=True)
                ]
                yield {**spelled, name: key}, chosen


def _stepped(envs: Sequence[Env], lists: Iterable[str], step: str, to: str, stop: list[int]) -> Iterator[Any]:
    every = [
        frozenset(i for i in range(n) if env[step] and (i + 1) % env[step] == 0)
        for n, env in zip(stop, envs, strict=True)
    ]
    for key in [None, *lists]:
        if key is not None and not all(type(i) is int for env in envs for i in env[key]):
            continue
        chosen = [s - frozenset(env[key]) if key else s for s, env in zip(every, envs, strict=True)]
        spelled = {"to": to, "every": step} | ({"except": key} if key else {})
        yield spelled, chosen
        yield (
            {**spelled, "inverse": True},
            [frozenset(range(n)) - s for n, s in zip(stop, chosen, strict=True)],
        )


def _window(envs: Sequence[Env], start: str, end: str, step: str, to: str, stop: list[int]) -> Iterator[Any]:
    chosen = [
        frozenset(
            i for i in range(env[start], min(n, env[end] + 1)) if env[step] and (i + 1) % env[step] == 0
        )
        for n, env in zip(stop, envs, strict=True)
    ]
    spelled = {"from": start, "to": to, "until": f"{end} + 1", "every": step}
    yield spelled, chosen
    yield {**spelled, "inverse": True}, [frozenset(range(n)) - s for n, s in zip(stop, chosen, strict=True)]
