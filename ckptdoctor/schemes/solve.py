"""Fit a scheme to a module's tensors: which sizes, bits and groups explain their shapes, and what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from .base import Leaf
from .formats import Format, Role, Shape
from .monomial import Monomial


class Fault(NamedTuple):
    """What one role of a scheme lacks or has wrong."""

    role: str
    what: Literal["missing", "dtype", "shape"]
    expected: tuple[int, ...] | tuple[str, ...] = ()
    got: tuple[int, ...] | str = ""


class Solution(NamedTuple):
    """How well a scheme explains the tensors of a module."""

    format: Format
    values: Mapping[str, int]
    """``in``, ``out``, ``bits``, ``group``, as far as the shapes settle them, and ``rank``, the weight's dimensions."""
    faults: tuple[Fault, ...]
    unexplained: int = 0
    """Tensors that are none of the scheme's, biases apart."""

    @property
    def misfit(self) -> int:
        """How badly it explains them; the scheme with the least is the one."""
        return len(self.faults) + self.unexplained

    @property
    def strangers(self) -> int:
        """Tensors of other numbers of dimensions; of two schemes that fit as badly, the likelier has fewer."""
        return sum(fault.what == "shape" and len(fault.expected) != len(fault.got) for fault in self.faults)


def solve(format_: Format, leaves: Mapping[str, Leaf]) -> Solution:
    """Fit ``format_`` to ``leaves`` (role → tensor), choosing the values that leave the fewest faults."""
    faults = list(_unmet(format_, leaves))
    unexplained = sum(name not in format_.roles and name != "bias" for name in leaves)
    shaped = _shaped(format_, leaves)
    if not shaped:
        return Solution(format_, {}, tuple(faults), unexplained)
    trials = [_try(format_, shaped, start) for start in _starts(format_)]
    fewest = min(len(found) for _, found in trials)
    equal = [trial for trial in trials if len(trial[1]) == fewest]
    best = [trial for trial in equal if not _overlong(trial[0])] or equal
    agreed = _agreed(values for values, _ in best)
    return Solution(format_, agreed, (*faults, *best[0][1]), unexplained)


def _shaped(format_: Format, leaves: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Return role → tensor where the scheme says something about the shape."""
    return {
        name: leaves[name]
        for name, role in format_.roles.items()
        if name in leaves and leaves[name].dtype and role.shapes
    }


def _overlong(values: Mapping[str, int]) -> bool:
    """Whether a group would be longer than a row: a row is one group then."""
    return "in" in values and values.get("group", 0) > values["in"]


def explains(format_: Format, leaves: Mapping[str, Leaf], bits: int | None, group: int | None) -> bool:
    """Whether the shapes of ``leaves`` are those of this very width and group (-1: a group per row; None: any)."""
    narrowed = format_._replace(
        bits=format_.bits if bits is None else (bits,),
        groups=format_.groups if group is None else ("in" if group < 1 else group,),
    )
    return not any(fault.what == "shape" for fault in solve(narrowed, leaves).faults)


def _unmet(format_: Format, leaves: Mapping[str, Leaf]) -> Iterator[Fault]:
    for name, role in format_.roles.items():
        leaf = leaves.get(name)
        if leaf is None:
            if not role.optional:
                yield Fault(name, "missing")
        elif leaf.dtype and role.dtypes and leaf.dtype not in role.dtypes:
            yield Fault(name, "dtype", tuple(sorted(role.dtypes)), leaf.dtype)


def _starts(format_: Format) -> Iterator[dict[str, int | str]]:
    """Yield every combination of bits and group that occurs."""
    for bits in format_.bits or (None,):
        for group in format_.groups or (None,):
            start = {"bits": bits, "group": group}
            yield {name: value for name, value in start.items() if value is not None}


def _agreed(solutions: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the values that all equally good solutions share."""
    first, *others = solutions
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _try(
    format_: Format, leaves: Mapping[str, Leaf], start: Mapping[str, int | str]
) -> tuple[dict[str, int], list[Fault]]:
    """Solve for what ``start`` leaves open; return the values and the shapes that disagree with them."""
    leading = _common(_leading(format_, leaves))
    known = {name: value for name, value in start.items() if isinstance(value, int)}
    known["rank"] = len(leading) + 2
    pairs = [pair for name, leaf in leaves.items() for pair in _pairs(format_.roles[name], leaf)]
    pairs.sort(key=lambda pair: (len(pair[0].under), pair[0].divisor * pair[0].constant))
    _settle(pairs, known, whole_rows=start.get("group") == "in")
    faults = [_shape(format_.roles[name], leaf, known, leading) for name, leaf in leaves.items()]
    return known, [fault for fault in faults if fault is not None]


def _settle(pairs: Sequence[tuple[Monomial, int]], known: dict[str, int], *, whole_rows: bool) -> None:
    """Add to ``known`` what dimensions and their sizes give, until they give nothing more.

    ``whole_rows``: a group is a row.
    """
    for _ in range(len(pairs)):
        before = len(known)
        for dim, size in pairs:
            unknown = [name for name in dim.variables if name not in known]
            if len(unknown) == 1 and unknown[0] in dim.over:
                value = dim.solve(unknown[0], size, known)
                if value is not None:
                    known[unknown[0]] = value
            if whole_rows and "in" in known:
                known["group"] = known["in"]
        if len(known) == before:
            break


def _leading(format_: Format, leaves: Mapping[str, Leaf]) -> Iterator[tuple[int, ...]]:
    """Yield the dimensions that the tensors with one stacked shape have in front of it."""
    for name, leaf in leaves.items():
        shapes = format_.roles[name].shapes
        if len(shapes) == 1 and shapes[0].stacked:
            yield leaf.shape[: max(0, len(leaf.shape) - len(shapes[0].dims))]


def _common(found: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what most of ``found`` are, the first of several."""
    counted = Counter(found)
    return counted.most_common(1)[0][0] if counted else ()


def _pairs(role: Role, leaf: Leaf) -> list[tuple[Monomial, int]]:
    """Pair a role's dimensions with the sizes found, none when their number differs or the role has several shapes."""
    if len(role.shapes) != 1:
        return []
    dims, stacked = role.shapes[0]
    sizes = leaf.shape[len(leaf.shape) - len(dims) :] if stacked else leaf.shape
    return list(zip(dims, sizes, strict=True)) if len(sizes) == len(dims) else []


def _shape(role: Role, leaf: Leaf, known: Mapping[str, int], leading: tuple[int, ...]) -> Fault | None:
    """Return the fault of a shape that is not the one the values give; of several that of as many dimensions."""
    wanted = [_sizes(shape, known, leading) for shape in role.shapes]
    if leaf.shape in wanted:
        return None
    fit = [sizes for sizes in wanted if sizes is not None]
    alike = [sizes for sizes in fit if len(sizes) == len(leaf.shape)]
    return Fault(role.name, "shape", next(iter(alike or fit), ()), leaf.shape)


def _sizes(shape: Shape, known: Mapping[str, int], leading: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return a shape in numbers, None when they do not settle it."""
    sizes = []
    for dim in shape.dims:
        size = None if any(name not in known for name in dim.variables) else dim.value(known)
        if size is None:
            return None
        sizes.append(size)
    return (*leading, *sizes) if shape.stacked else tuple(sizes)
