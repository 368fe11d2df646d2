"""Which scheme a module is stored in, told from its tensors alone."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..ruledata import Rulebook
from . import bnb4
from .base import Leaf, QuantState, Stored
from .formats import Format, formats
from .solve import Solution, solve

_PLAIN = frozenset({"weight", "bias"})


def recognise(leaves: tuple[Leaf, ...], state: QuantState | None, rulebook: Rulebook) -> Stored:
    """Return how the module with these leaves is stored; scheme ``""`` when only names are known and do not tell."""
    names = {leaf.name for leaf in leaves}
    if names <= _PLAIN:
        return dense(leaves)
    four_bit = bnb4.recognise(names, state)
    if four_bit is not None:
        return four_bit
    found = candidates(leaves, rulebook)
    if not found:
        return dense(leaves)
    best = found[0]
    equal = {solution.format.id for solution in found if solution.misfit == best.misfit}
    if len(equal) > 1 and not all(leaf.dtype for leaf in leaves):
        return Stored("", quantized=True)
    values = best.values
    return Stored(
        best.format.id, values.get("bits"), values.get("group"), values.get("in"), values.get("out"), True
    )


def candidates(leaves: tuple[Leaf, ...], rulebook: Rulebook) -> tuple[Solution, ...]:
    """Return every scheme of the rulebook that these tensors may be, the one that fits best first."""
    solved = rulebook.derived(_solved)
    if leaves not in solved:
        if len(solved) >= _KEPT:
            solved.clear()
        solved[leaves] = _candidates(leaves, formats(rulebook))
    return solved[leaves]


_KEPT = 1000


def _solved(rulebook: Rulebook) -> dict[tuple[Leaf, ...], tuple[Solution, ...]]:
    """Return where to keep what has been solved: a module's tensors are asked about by parser and checks alike."""
    return {}


def _candidates(leaves: tuple[Leaf, ...], known: tuple[Format, ...]) -> tuple[Solution, ...]:
    by_name = {leaf.name: leaf for leaf in leaves}
    found = [
        solve(format_, roles)
        for format_ in known
        for roles in (_by_stem(format_, leaves) if format_.stemmed else (by_name,))
        if _identified(format_, roles)
    ]
    return tuple(sorted(found, key=lambda solution: (solution.misfit, solution.strangers)))


def _identified(format_: Format, roles: dict[str, Leaf]) -> bool:
    for name, dtypes in format_.identify.items():
        leaf = roles.get(name)
        if leaf is None or (leaf.dtype and dtypes and leaf.dtype not in dtypes):
            return False
    return True


def _by_stem(format_: Format, leaves: tuple[Leaf, ...]) -> Iterable[dict[str, Leaf]]:
    """Return role → tensor for every stem: ``gate_up_proj`` where roles are named ``*_blocks`` and ``*_scales``."""
    stems: dict[str, dict[str, Leaf]] = {}
    for leaf in leaves:
        for role in format_.roles:
            if leaf.name.endswith(role[1:]):
                stems.setdefault(leaf.name.removesuffix(role[1:]), {})[role] = leaf
    return stems.values()


def dense(leaves: tuple[Leaf, ...]) -> Stored:
    """Return the scheme of a module that is not quantised: the dtype of its weight, else of its largest tensor."""
    weight = next((leaf for leaf in leaves if leaf.name == "weight"), None)
    main = weight or max(leaves, key=lambda leaf: prod(leaf.shape), default=None)
    if main is None:
        return Stored("")
    rows, columns = main.shape[-2:] if len(main.shape) >= 2 else (None, None)
    return Stored(main.dtype.lower(), None, None, columns, rows)
