"""The simplest range of indices that explains which layers, experts or blocks there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from .conditions import FEWEST, Env, When, conditions

Domain = tuple[Any, list[frozenset[int]]]
"""A range as a blueprint spells it, and the indices that it gives in each observation."""


def domain(envs: Sequence[Env], sets: Sequence[frozenset[int]]) -> tuple[When, Any] | None:
    """The condition and index domain that give exactly these index sets, else None."""
    candidates = list(_domains(envs))
    filled = {s for s in sets if s}
    if len(filled) == 1 and (count := len(next(iter(filled)))) > 4:  # a number in the code of the class
        candidates.append((count, [frozenset(range(count))] * len(sets)))
    for when, truth in conditions(envs):
        if any(s and not t for s, t in zip(sets, truth, strict=True)):
            continue
        if sum(truth) < FEWEST and not all(truth):
            continue
        for spelled, indices in candidates:
            if all(s == i for s, i, t in zip(sets, indices, truth, strict=True) if t):
                return when, spelled
    return None


class _Bounds(NamedTuple):
    """The keys that may bound a range, by what their names say."""

    stacks: list[str]
    counts: list[str]
    starts: list[str]
    ends: list[str]
    steps: list[str]
    lists: list[str]


def _bounds(envs: Sequence[Env]) -> _Bounds:
    whole = [k for k, v in envs[0].items() if all(type(e.get(k)) is int and 0 <= e[k] <= 64 for e in envs)]
    varying = [k for k in whole if len(set(_column(envs, k))) > 1]
    stacks = [k for k in varying if k.rpartition(".")[2].endswith(("layers", "layer", "depth"))]
    return _Bounds(
        stacks=stacks,
        counts=[k for k in varying if k not in stacks],
        starts=_with(varying, "dense", "start"),
        ends=_with(varying, "end_index"),
        steps=_with(varying, "step", "interval"),
        lists=[k for k in envs[0] if all(isinstance(e.get(k), list) for e in envs)],
    )


def _with(keys: Sequence[str], *parts: str) -> list[str]:
    return [key for key in keys if any(part in key for part in parts)]


def _column(envs: Sequence[Env], key: str) -> list[int]:
    return [env[key] for env in envs]


def _domains(envs: Sequence[Env]) -> Iterator[Domain]:
    bounds = _bounds(envs)
    for key in [*bounds.stacks, *bounds.counts]:
        yield key, [frozenset(range(n)) for n in _column(envs, key)]
    for to in bounds.stacks:
        yield from _within(envs, bounds, to, _column(envs, to))
    for key in bounds.lists:
        lengths = [len(env[key]) for env in envs]
        if len(set(lengths)) > 1 and all(lengths):
            yield {"items": key}, [frozenset(range(n)) for n in lengths]
            yield from _listed(envs, key, {"items": key}, lengths)


def _within(envs: Sequence[Env], bounds: _Bounds, to: str, stop: list[int]) -> Iterator[Domain]:
    """Some of the layers of a stack."""
    yield {"from": 1, "to": to}, [frozenset(range(1, n)) for n in stop]
    for start in bounds.starts:
        pairs = list(zip(_column(envs, start), stop, strict=True))
        yield {"from": start, "to": to}, [frozenset(range(a, b)) for a, b in pairs]
        yield {"to": to, "from": start, "inverse": True}, [frozenset(range(min(a, b))) for a, b in pairs]
    for key in bounds.lists:
        yield from _listed(envs, key, {"to": to}, stop)
    yield from _offset(envs, to, stop)
    for step in bounds.steps:
        yield from _stepped(envs, bounds.lists, step, to, stop)
    for start, end, step in product(bounds.starts, bounds.ends, bounds.steps):
        yield from _window(envs, start, end, step, to, stop)


def _and_inverse(spelled: When, chosen: list[frozenset[int]], stop: list[int]) -> Iterator[Domain]:
    yield spelled, chosen
    yield {**spelled, "inverse": True}, [frozenset(range(n)) - s for n, s in zip(stop, chosen, strict=True)]


def _offset(envs: Sequence[Env], to: str, stop: list[int]) -> Iterator[Domain]:
    """Every n-th layer, counted from an offset of its own: `attn_layer_period` and `attn_layer_offset`."""
    for period in [k for k in envs[0] if k.endswith("period")]:
        offset = f"{period.removesuffix('period')}offset"
        if all(type(env.get(key)) is int for env in envs for key in (period, offset)):
            chosen = [
                frozenset(i for i in range(n) if env[period] and i % env[period] == env[offset])
                for n, env in zip(stop, envs, strict=True)
            ]
            yield from _and_inverse({"to": to, "every": period, "offset": offset}, chosen, stop)


def _listed(envs: Sequence[Env], key: str, spelled: When, stop: list[int]) -> Iterator[Domain]:
    """The places where a list has a word, or those whose numbers it has."""
    values = [env[key] for env in envs]
    kinds = {v for value in values for v in value if isinstance(v, (str, bool, int))}
    if all(len(v) == n for v, n in zip(values, stop, strict=True)):
        for kind in sorted(kinds, key=str):
            yes = [frozenset(i for i, v in enumerate(value) if v == kind) for value in values]
            yield {**spelled, "where": key, "is": kind}, yes
    if all(type(k) is int for k in kinds):
        for name, keep in (("in", True), ("except", False)):
            chosen = [_chosen(v, n, keep) for v, n in zip(values, stop, strict=True)]
            yield {**spelled, name: key}, chosen


def _chosen(numbers: list[Any], stop: int, keep: bool) -> frozenset[int]:
    return frozenset(i for i in range(stop) if (i in numbers) is keep)


def _stepped(
    envs: Sequence[Env], lists: Iterable[str], step: str, to: str, stop: list[int]
) -> Iterator[Domain]:
    every = [
        frozenset(i for i in range(n) if env[step] and (i + 1) % env[step] == 0)
        for n, env in zip(stop, envs, strict=True)
    ]
    for key in [None, *lists]:
        if key is not None and not all(type(i) is int for env in envs for i in env[key]):
            continue
        chosen = [s - frozenset(env[key]) if key else s for s, env in zip(every, envs, strict=True)]
        spelled = {"to": to, "every": step} | ({"except": key} if key else {})
        yield from _and_inverse(spelled, chosen, stop)


def _window(
    envs: Sequence[Env], start: str, end: str, step: str, to: str, stop: list[int]
) -> Iterator[Domain]:
    chosen = [
        frozenset(
            i for i in range(env[start], min(n, env[end] + 1)) if env[step] and (i + 1) % env[step] == 0
        )
        for n, env in zip(stop, envs, strict=True)
    ]
    yield from _and_inverse({"from": start, "to": to, "until": f"{end} + 1", "every": step}, chosen, stop)
