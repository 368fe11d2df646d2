"""From observations of one architecture to its blueprint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ckptdoctor.expected.blueprint import starred

from .fit import Env, Formulas, When, atoms, domain, presence
from .observe import Observation, Shapes

Plain = dict[str, Any]
Index = tuple[int, ...]
Sizes = dict[Index, tuple[int, ...]]


class Unfit(Exception):
    """The architecture cannot be described; the message says what stood in the way."""


class Row(NamedTuple):
    """One line of a blueprint: a template with its condition, domains, kind and shape."""

    template: str
    when: When
    over: list[Any]
    kind: str
    dims: list[str]


def rows(
    observations: Sequence[Observation],
    tables: Sequence[Shapes],
    kinds: dict[str, str],
    constants: bool = False,
) -> list[Row]:
    """Describe every tensor of `tables` (one per observation) by the fewest conditions and domains.

    `constants`: the code of the class says sizes and counts itself, so one that never changes is that number.
    """
    envs = [seen.env for seen in observations]
    _KNOWN.clear()
    found: list[Row] = []
    for template, sizes in _by_template(tables, constants).items():
        kind = kinds.get(starred(template)[0], "other")
        described = list(_rows_of(template, envs, sizes, kind))
        shapes = {shape for each in sizes for shape in each.values()}
        if constants and len(shapes) == 1:
            dims = [str(size) for size in shapes.pop()]
            described = [row._replace(dims=dims) if row.dims == ["?"] else row for row in described]
        found += described
    return found


def _by_template(tables: Sequence[Shapes], constants: bool) -> dict[str, list[Sizes]]:
    """Tensors by template; index positions that never change stay in the name as numbers, unless there are many."""
    split: dict[str, list[Sizes]] = {}
    for place, table in enumerate(tables):
        for name, shape in table.items():
            template, index = starred(name)
            split.setdefault(template, [{} for _ in tables])[place][index] = shape
    result: dict[str, list[Sizes]] = {}
    for template, sizes in split.items():
        fixed = _fixed_positions(sizes)
        if constants and len({shape for each in sizes for shape in each.values()}) == 1:
            fixed = {position: indices for position, indices in fixed.items() if len(indices) <= 4}
        if not constants and any(len(indices) > 4 for indices in fixed.values()):
            raise Unfit(f"{template}: an index range does not vary")
        for place, table_sizes in enumerate(sizes):
            for index, shape in table_sizes.items():
                spelled = _fill(template, {p: index[p] for p in fixed})
                rest = tuple(n for p, n in enumerate(index) if p not in fixed)
                result.setdefault(spelled, [{} for _ in tables])[place][rest] = shape
    return result


def _fixed_positions(sizes: Sequence[Sizes]) -> dict[int, frozenset[int]]:
    present = [s for s in sizes if s]
    fixed = {}
    for position in range(len(next(iter(present[0])))):
        sets = {frozenset(index[position] for index in s) for s in present}
        if len(sets) == 1:
            fixed[position] = next(iter(sets))
    return fixed


def _fill(template: str, numbers: dict[int, int]) -> str:
    stars = iter(range(template.count("*")))
    parts = [numbers.get(next(stars), "*") if part == "*" else part for part in template.split(".")]
    return ".".join(map(str, parts))


def _rows_of(template: str, envs: Sequence[Env], sizes: Sequence[Sizes], kind: str) -> Iterator[Row]:
    if all(len(set(s.values())) <= 1 for s in sizes):
        yield from _uniform(template, envs, sizes, kind)
        return
    for part in _split_by_list(envs, sizes):
        yield from _uniform(template, envs, part, kind)


def _split_by_list(envs: Sequence[Env], sizes: Sequence[Sizes]) -> list[list[Sizes]]:
    """Layers of unlike shape, told apart by what a list such as `layer_types` says of them."""
    for key in [k for k, v in envs[0].items() if isinstance(v, list)]:
        kinds = sorted({str(v) for env in envs for v in env[key] or []})
        parts = [
            [
                {i: shape for i, shape in s.items() if i[0] < len(env[key]) and str(env[key][i[0]]) == kind}
                for s, env in zip(sizes, envs, strict=True)
            ]
            for kind in kinds
        ]
        whole = sum(len(s) for part in parts for s in part) == sum(map(len, sizes))
        if whole and all(len(set(s.values())) <= 1 for part in parts for s in part):
            return parts
    raise Unfit("shapes differ between layers for no listed reason")


def _uniform(template: str, envs: Sequence[Env], sizes: Sequence[Sizes], kind: str) -> Iterator[Row]:
    for case, places in _cases(template, envs, sizes):
        when, over = _where(template, [envs[p] for p in places], [sizes[p] for p in places])
        held = [p for p in places if sizes[p]]
        shapes = [next(iter(sizes[p].values())) for p in held]
        for extra, dims in _dims([envs[p] for p in held], shapes):
            yield Row(template, {**case, **when, **extra}, over, kind, dims)


def _cases(template: str, envs: Sequence[Env], sizes: Sequence[Sizes]) -> list[tuple[When, list[int]]]:
    """Observations told apart by one switch where no single rule says when a tensor is there."""
    everything = list(range(len(envs)))
    try:
        _where(template, envs, sizes)
        return [({}, everything)]
    except Unfit as unfit:
        for key in dict.fromkeys(key for (key, _), _ in atoms(envs).values()):
            parts = [
                ({key: wanted}, [p for p, holds in enumerate(truth) if holds])
                for (k, wanted), truth in atoms(envs).values()
                if k == key
            ]
            parts = [(when, places) for when, places in parts if any(sizes[p] for p in places)]
            try:
                for _, places in parts:
                    _where(template, [envs[p] for p in places], [sizes[p] for p in places])
                return parts
            except Unfit:
                continue
        raise unfit


def _where(template: str, envs: Sequence[Env], sizes: Sequence[Sizes]) -> tuple[When, list[Any]]:
    if "*" not in template:
        when = presence(envs, [bool(s) for s in sizes])
        if when is None:
            raise Unfit(f"{template}: no condition explains when it is there")
        return when, []
    over: list[Any] = []
    when = {}
    for position in range(template.split(".").count("*")):
        sets = [frozenset(index[position] for index in s) for s in sizes]
        places = range(len(sets)) if position == 0 else [p for p, s in enumerate(sets) if s]
        found = domain([envs[p] for p in places], [sets[p] for p in places])
        if found is None:
            raise Unfit(f"{template}: no range explains index {position}")
        when = {**when, **found[0]}
        over.append(found[1])
    for s in sizes:
        rectangle = 1
        for position in range(len(over)):
            rectangle *= len({index[position] for index in s})
        if s and rectangle != len(s):
            raise Unfit(f"{template}: indices do not form a rectangle")
    return when, over


def _dims(envs: Sequence[Env], shapes: Sequence[tuple[int, ...]]) -> list[tuple[When, list[str]]]:
    """Formulas for a shape; where none fits all observations, one set per value of a switch."""
    whole = _formulas(envs, shapes)
    if whole is not None:
        return [({}, whole)]
    for key in dict.fromkeys(key for (key, _), _ in atoms(envs).values()):
        parts: list[tuple[When, list[str]]] = []
        for (k, wanted), truth in atoms(envs).values():
            if k != key:
                continue
            places = [place for place, holds in enumerate(truth) if holds]
            dims = _formulas([envs[p] for p in places], [shapes[p] for p in places])
            if dims is None:
                break
            parts.append(({key: wanted}, dims))
        else:
            return parts
    return _dims_by_two(envs, shapes) or [({}, ["?"])]


def _dims_by_two(
    envs: Sequence[Env], shapes: Sequence[tuple[int, ...]]
) -> list[tuple[When, list[str]]] | None:
    """One switch decides, and under one of its values a second one does."""
    for (key, wanted), truth in atoms(envs).values():
        yes = [p for p, holds in enumerate(truth) if holds]
        no = [p for p, holds in enumerate(truth) if not holds]
        first = _formulas([envs[p] for p in yes], [shapes[p] for p in yes])
        if first is None or not isinstance(wanted, bool):
            continue
        for (k2, w2), t2 in atoms([envs[p] for p in no]).values():
            if not isinstance(w2, bool):
                continue
            one = [p for p, holds in zip(no, t2, strict=True) if holds]
            two = [p for p, holds in zip(no, t2, strict=True) if not holds]
            second = _formulas([envs[p] for p in one], [shapes[p] for p in one])
            third = _formulas([envs[p] for p in two], [shapes[p] for p in two])
            if second is not None and third is not None:
                other = {key: not wanted}
                return [({key: wanted}, first), ({**other, k2: w2}, second), ({**other, k2: not w2}, third)]
    return None


def _formulas(envs: Sequence[Env], shapes: Sequence[tuple[int, ...]]) -> list[str] | None:
    if len({len(shape) for shape in shapes}) != 1:
        return None
    formulas = _formulas_over(tuple(map(id, envs)), envs)
    dims = [formulas.find(tuple(column)) for column in zip(*shapes, strict=True)]
    return None if None in dims else [dim for dim in dims if dim is not None]


_KNOWN: dict[tuple[int, ...], Formulas] = {}


def _formulas_over(key: tuple[int, ...], envs: Sequence[Env]) -> Formulas:
    """The formulas over some observations, worked out once while these are alive."""
    if key not in _KNOWN:
        _KNOWN[key] = Formulas(envs)
    return _KNOWN[key]


def used_keys(found: Iterable[Row], tied: Iterable[Plain]) -> list[str]:
    """Every configuration key that a blueprint reads."""
    keys: dict[str, None] = {}

    def formula(text: Any) -> None:
        keys.update(dict.fromkeys(re.findall(r"[A-Za-z_][\w.]*", str(text))))

    for row in found:
        for dim in row.dims:
            formula(dim)
        for each in row.over:
            for part, text in each.items() if isinstance(each, dict) else [("to", each)]:
                if part not in ("is", "inverse"):
                    formula(text)
        keys.update(dict.fromkeys(row.when))
    for group in tied:
        keys.update(dict.fromkeys(group.get("when", {})))
    return list(keys)


def keys_of(blueprint: Plain) -> list[str]:
    """Every configuration key that a finished blueprint reads."""
    found = [
        Row(name, group.get("when", {}), group.get("over", []), kind, list(map(str, dims)))
        for group in [*blueprint["tensors"], *blueprint.get("fused", ())]
        for name, (kind, *dims) in group["tensors"].items()
    ]
    return used_keys(found, blueprint.get("tied", ()))
