"""Behaviours of loaders have one name each: what the code asks for must be in the data, and the other way round.

The models ask with ``run.does(NAME)`` and ``facts.does(data, NAME, version)``; a misspelt name would be "no, it does
not" for ever. The calls are read from the source, so there is no second list to keep.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..ruledata import RulebookError
from .document import Document

LOADERS = Path(__file__).parents[1] / "loaders"
TABLES = ("behaviour", "unsloth_behaviour")


class Asked(NamedTuple):
    """One question of the code."""

    name: str
    room: str
    """The loader whose folder or file asks, or a room that all share."""
    place: str
    """``vllm/files.py:30``."""


def check(loaders: Mapping[str, Document], code: Path = LOADERS) -> None:
    """Raise RulebookError for a name that only the code or only the data knows."""
    declared: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for loader, document in loaders.items():
        for table in TABLES:
            for place, row in enumerate(document.value.get(table, ())):
                declared[row["name"]][loader] = (table, place)
    if not declared:
        return  # a rules folder without loaders (a test's)
    questions = list(asked(code))
    known = {question.name for question in questions}
    for name, owners in declared.items():
        if name not in known:
            loader, path = next(iter(owners.items()))
            raise loaders[loader].error(path, f"{path[0]}: no code asks for the behaviour {name!r}")
    for question in questions:
        asking = loaders.get(question.room)
        beside = {question.room, *(asking.value.get("companions", {}) if asking else ())}
        owners = declared.get(question.name, {})
        if not (owners.keys() & beside if asking else owners):
            blamed = asking or next(iter(loaders.values()))
            raise blamed.error(
                (), f"behaviour: {question.place} asks for {question.name!r}, which no row is called"
            )


def asked(code: Path) -> Iterator[Asked]:
    """Yield every question of the loader models. Raises RulebookError for a name that is not written out."""
    for path in sorted(code.rglob("*.py")):
        within = path.relative_to(code)
        for call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            names = [item.value for item in call.args[:2] if isinstance(item, ast.Constant)]
            if len(names) != 1 or not isinstance(names[0], str):
                why = "expected the name of a behaviour, written out where it is asked for"
                raise RulebookError(f"ckptdoctor/loaders/{within.as_posix()}", call.lineno, why)
            yield Asked(names[0], within.parts[0].removesuffix(".py"), f"{within.as_posix()}:{call.lineno}")


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield calls of ``does`` and of what is named after it, but for those that such a function itself makes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name.endswith("does"):
            continue
        if isinstance(child, ast.Call) and ast.unparse(child.func).endswith("does"):
            yield child
        yield from _calls(child)
