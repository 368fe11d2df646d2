"""The check that a blueprint earns its place: the reader's answer against a fresh model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from ckptdoctor import ruledata
from ckptdoctor.expected.blueprint import Entry, Expected, starred
from ckptdoctor.expected.comparer import compare
from ckptdoctor.expected.grouping import grouped

from .names import respelled
from .observation import Observation, Shapes
from .observe import loads

RULEBOOK = ruledata.load()


def disagreement(expected: Expected, seen: Observation) -> str | None:
    """Say how the expectation differs from what transformers builds and saves, or None."""
    names = expand(entry for entries in expected.entries.values() for entry in entries)
    if missing := seen.released.keys() - names.keys():
        return f"not described: {sorted(missing)[:3]}"
    if surplus := names.keys() - seen.released.keys():
        return f"described but not built: {sorted(surplus)[:3]}"
    for name, shape in names.items():
        if shape is not None and shape != seen.released[name]:
            return f"{name} is {seen.released[name]}, described as {shape}"
    return _ties(expected, seen) or _layouts(expected, seen)


def expand(entries: object) -> dict[str, tuple[int, ...] | None]:
    """Every tensor name of some entries with its shape."""
    names: dict[str, tuple[int, ...] | None] = {}
    for entry in entries:  # type: ignore[attr-defined]
        assert isinstance(entry, Entry)
        for index in product(*entry.indices):
            numbers = iter(index)
            name = ".".join(str(next(numbers)) if part == "*" else part for part in entry.template.split("."))
            assert name not in names, name
            names[name] = entry.shape
    return names


def _ties(expected: Expected, seen: Observation) -> str | None:
    renamed = dict(expected.renamed)
    wanted = {tuple(sorted(respelled(n, renamed) for n in pair)) for pair in seen.tied.items()}
    for pair in wanted:
        if not any(set(pair) <= group for group in expected.tied):
            return f"{pair} are tied"
    tied = {name for pair in wanted for name in pair}
    for group in expected.tied:
        if group - tied:
            return f"{sorted(group)} are not tied"
    return None


def _layouts(expected: Expected, seen: Observation) -> str | None:
    """Both the saved and the in-memory names must pass the comparison clean, whole or bare."""
    layouts = {"saved": seen.released, "in memory": seen.native}
    if expected.prefix:
        cut = len(expected.prefix) + 1
        layouts["bare"] = {
            name[cut:] if name.startswith(f"{expected.prefix}.") else name: shape
            for name, shape in seen.released.items()
        }
    for there, here in [pair for pair in expected.renamed if "*" not in pair[0]]:
        layouts[there] = {_exchanged(name, here, there): shape for name, shape in seen.released.items()}
        if astray := _astray(layouts[there], there, seen):
            return f"transformers does not load {astray}"
    for layout, shapes in layouts.items():
        result = compare(expected, grouped(_tensors(shapes)), RULEBOOK)
        if result.missing or result.unclear or result.mismatched or result.unexpected:
            return f"{layout} names compare as {result}"[:900]
    return None


def _astray(names: Iterable[str], prefix: str, seen: Observation) -> str | None:
    """The first name below a prefix that transformers has no place for; one of each template is tried."""
    one_each = {starred(name)[0]: name for name in names if name.startswith(f"{prefix}.")}
    return next((name for name in one_each.values() if not loads(seen, name)), None)


def _exchanged(name: str, prefix: str, other: str) -> str:
    if not prefix:
        return f"{other}.{name}"
    return other + name[len(prefix) :] if name == prefix or name.startswith(f"{prefix}.") else name


def _tensors(shapes: Shapes) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: ("BF16", shape) for name, shape in shapes.items()}
