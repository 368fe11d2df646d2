"""The rule behind a list that a configuration class fills in by itself, such as `layer_types`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .conditions import Env

Plain = dict[str, Any]


def list_rule(values: Sequence[list[Any]], envs: Sequence[Env]) -> Plain | None:
    """The simplest default (`rules/architectures/README.md`) that gives each list, else None."""
    if all(value == values[0] for value in values) and not values[0]:
        return {"value": []}
    stacks = [k for k in envs[0] if all(env.get(k) == len(v) for env, v in zip(envs, values, strict=True))]
    for found in _mapped(values, envs, None):  # needs no length, which may itself be that of this list
        return found
    for stack in stacks:
        for rule in (_periodic, _headed, _mapped):
            for found in rule(values, envs, stack):
                return found
    return _indices(values, envs)


def _periodic(values: Sequence[list[Any]], envs: Sequence[Env], stack: str) -> Iterator[Plain]:
    """One value at every n-th place, with a period given by a key or by the class; the last may be forced."""
    periods: list[int | str] = [*range(1, 9), *_named(envs, "interval", "pattern", "period", "step", "freq")]
    offsets: list[int | str | None] = [None, *range(8), *_named(envs, "offset")]
    for final in (False, True):
        for every in periods:
            steps = _column(every, envs)
            for offset in offsets:
                starts = [s - 1 for s in steps] if offset is None else _column(offset, envs)
                if min(steps) < 1 or any(a >= s for a, s in zip(starts, steps, strict=True)):
                    continue
                yield from _period(values, steps, starts, final, {"to": stack, "every": every}, offset)


def _period(
    values: Sequence[list[Any]],
    steps: list[int],
    starts: list[int],
    final: bool,
    spelled: Plain,
    offset: int | str | None,
) -> Iterator[Plain]:
    chosen: list[Any] = []
    others: list[Any] = []
    ends: list[Any] = []
    for value, step, start in zip(values, steps, starts, strict=True):
        if final and value:
            ends.append(value[-1])
        for i, item in enumerate(value[:-1] if final else value):
            (chosen if i % step == start else others).append(item)
    if len(_distinct(chosen)) != 1 or len(_distinct(others)) > 1 or (final and len(_distinct(ends)) != 1):
        return
    yield {
        **spelled,
        **({} if offset is None else {"offset": offset}),
        "last": chosen[0],
        "other": others[0] if others else None,
        **({"final": ends[0]} if final else {}),
    }


def _headed(values: Sequence[list[Any]], envs: Sequence[Env], stack: str) -> Iterator[Plain]:
    """One value for the first few places, another for the rest."""
    for first in [*range(1, 5), *_named(envs, "first", "dense", "start")]:
        counts = _column(first, envs)
        if min(counts) < 0:
            continue
        head = [item for value, n in zip(values, counts, strict=True) for item in value[:n]]
        rest = [item for value, n in zip(values, counts, strict=True) for item in value[n:]]
        if len(_distinct(head)) == 1 and len(_distinct(rest)) == 1:
            yield {"to": stack, "first": first, "head": head[0], "rest": rest[0]}


def _mapped(values: Sequence[list[Any]], envs: Sequence[Env], stack: str | None) -> Iterator[Plain]:
    """Every item follows from the item of another list (or from the letter of a text), perhaps in a cycle."""
    for key in envs[0]:
        sources: list[Any] = [env.get(key) for env in envs]
        if not all(isinstance(source, (list, str)) and source for source in sources):
            continue
        longer = [len(s) - len(v) for s, v in zip(sources, values, strict=True)]
        table = _table(sources, values)
        if not table or (len(table) == 1 and min(longer) >= 0):
            continue
        spelled = {"of": key, "map": [[a, b] for a, b in sorted(table.items(), key=str)]}
        if stack:
            yield {"to": stack, **spelled}
        elif not any(longer):
            yield spelled


def _table(sources: Sequence[Any], values: Sequence[list[Any]]) -> dict[Any, Any]:
    """What each item of the sources stands for in the values; empty where one stands for two things."""
    table: dict[Any, Any] = {}
    for source, value in zip(sources, values, strict=True):
        for i, item in enumerate(value):
            word = source[i % len(source)]
            if not isinstance(word, (str, int)) or table.setdefault(word, item) != item:
                return {}
    return table


def _indices(values: Sequence[list[Any]], envs: Sequence[Env]) -> Plain | None:
    """Every n-th index below a stack."""
    layers = [k for k in _named(envs, "layer") if min(_column(k, envs)) > 0]
    for every in [*_named(envs, "interval", "step", "freq"), 1]:
        steps = _column(every, envs)
        for to in layers if min(steps) > 0 else ():
            stops = _column(to, envs)
            if all(v == list(range(s - 1, n, s)) for v, s, n in zip(values, steps, stops, strict=True)):
                return {"to": to, "every": every}
    return None


def _named(envs: Sequence[Env], *parts: str) -> list[str]:
    """Whole-number keys with one of these words in their name."""
    return [
        key
        for key in envs[0]
        if any(part in key.rpartition(".")[2] for part in parts)
        and all(type(env.get(key)) is int for env in envs)
    ]


def _column(key: int | str, envs: Sequence[Env]) -> list[int]:
    return [env[key] if isinstance(key, str) else key for env in envs]


def _distinct(items: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found
