"""From observations of one architecture to its blueprint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from ckptdoctor.expected.blueprint import starred

from .conditions import Env, When, presence, switches
from .dims import forget_formulas, variants
from .domains import domain
from .observation import Observation, Shapes

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
    forget_formulas()
    found: list[Row] = []
    for template, sizes in _by_template(tables, constants).items():
        kind = kinds.get(starred(template)[0], "other")
        described = list(_rows_of(template, envs, sizes, kind))
        shapes = {shape for each in sizes for shape in each.values()}
        if constants and len(shapes) == 1:
            only = [str(size) for size in shapes.pop()]
            described = [row._replace(dims=only) if row.dims == ["?"] else row for row in described]
        found += described
    return found


def _by_template(tables: Sequence[Shapes], constants: bool) -> dict[str, list[Sizes]]:
    """Tensors by template; index positions that never change stay in the name as numbers, unless there are many."""
    result: dict[str, list[Sizes]] = {}
    for template, sizes in _by_stars(tables).items():
        fixed = _in_the_name(template, sizes, constants)
        for place, table_sizes in enumerate(sizes):
            for index, shape in table_sizes.items():
                spelled = _fill(template, {p: index[p] for p in fixed})
                rest = tuple(n for p, n in enumerate(index) if p not in fixed)
                result.setdefault(spelled, [{} for _ in tables])[place][rest] = shape
    return result


def _by_stars(tables: Sequence[Shapes]) -> dict[str, list[Sizes]]:
    """Tensors by template, with a star for every number in a name."""
    split: dict[str, list[Sizes]] = {}
    for place, table in enumerate(tables):
        for name, shape in table.items():
            template, index = starred(name)
            split.setdefault(template, [{} for _ in tables])[place][index] = shape
    return split


def _in_the_name(template: str, sizes: Sequence[Sizes], constants: bool) -> set[int]:
    """The index positions whose numbers belong to the name; raises Unfit where that would be a whole range."""
    fixed = _fixed_positions(sizes)
    few = {position for position, indices in fixed.items() if len(indices) <= 4}
    if not constants and len(few) < len(fixed):
        raise Unfit(f"{template}: an index range does not vary")
    one_shape = len({shape for each in sizes for shape in each.values()}) == 1
    return few if constants and one_shape else set(fixed)


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
    for part in [sizes] if _alike(sizes) else _split_by_list(envs, sizes):
        yield from _uniform(template, envs, part, kind)


def _alike(sizes: Sequence[Sizes]) -> bool:
    """Whether no observation has a tensor in two shapes."""
    return all(len(set(s.values())) <= 1 for s in sizes)


def _split_by_list(envs: Sequence[Env], sizes: Sequence[Sizes]) -> list[list[Sizes]]:
    """Layers of unlike shape, told apart by what a list such as `layer_types` says of them."""
    for key in [k for k, v in envs[0].items() if isinstance(v, list)]:
        kinds = sorted({str(v) for env in envs for v in env[key] or []})
        parts = [[_of_kind(s, env[key], kind) for s, env in zip(sizes, envs, strict=True)] for kind in kinds]
        whole = sum(len(s) for part in parts for s in part) == sum(map(len, sizes))
        if whole and all(map(_alike, parts)):
            return parts
    raise Unfit("shapes differ between layers for no listed reason")


def _of_kind(sizes: Sizes, words: list[Any], kind: str) -> Sizes:
    """The layers that a list calls by one word."""
    return {i: shape for i, shape in sizes.items() if i[0] < len(words) and str(words[i[0]]) == kind}


def _uniform(template: str, envs: Sequence[Env], sizes: Sequence[Sizes], kind: str) -> Iterator[Row]:
    for case, places in _cases(template, envs, sizes):
        when, over = _where(template, [envs[p] for p in places], [sizes[p] for p in places])
        held = [p for p in places if sizes[p]]
        shapes = [next(iter(sizes[p].values())) for p in held]
        for extra, formulas in variants([envs[p] for p in held], shapes):
            yield Row(template, {**case, **when, **extra}, over, kind, formulas)


def _cases(template: str, envs: Sequence[Env], sizes: Sequence[Sizes]) -> list[tuple[When, list[int]]]:
    """Observations told apart by one switch where no single rule says when a tensor is there."""
    everything = list(range(len(envs)))
    try:
        _where(template, envs, sizes)
        return [({}, everything)]
    except Unfit as unfit:
        for cases in switches(envs):
            parts = [(when, places) for when, places in cases if any(sizes[p] for p in places)]
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
    if not all(map(_rectangular, sizes)):
        raise Unfit(f"{template}: indices do not form a rectangle")
    return when, over


def _rectangular(sizes: Sizes) -> bool:
    """Whether every index of one position is combined with every index of the others."""
    return not sizes or prod(len(set(numbers)) for numbers in zip(*sizes, strict=True)) == len(sizes)


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
