"""Names that a release lists: keys of a registry, words of a Literal, fields of a class. Parsed, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def keys(source: str, name: str) -> set[str]:
    """Return the keys that ``name`` is made of: assigned, or added by ``name.update(…)``.

    Understood are ``{"key": …}``, ``[("key", …)]`` and ``call(key=…)``, at any depth but for the values.
    """
    found: set[str] = set()
    for node in ast.parse(source).body:
        if name in _targets(node):
            found |= set(_keys(node.value))  # type: ignore[attr-defined]
        elif isinstance(node, ast.Expr) and _updates(node.value, name):
            found |= set(_keys(node.value))
    return found


def words(source: str, name: str) -> set[str]:
    """Return the texts of ``name = Literal["a", "b"]``."""
    return {
        item.value
        for node in ast.parse(source).body
        if name in _targets(node)
        for item in ast.walk(node)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }


def fields(source: str, name: str) -> set[str]:
    """Return the annotated fields (or the members of an enumeration) of the class ``name``, private ones left out."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {one for item in node.body for one in _targets(item) if not one.startswith("_")}
    return set()


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) and not _is_class_variable(node) else []
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_class_variable(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(node.annotation)


def _updates(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.update"


def _keys(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield from _keys(value)
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _keys(argument)
        for keyword in node.keywords:
            yield from [keyword.arg] if keyword.arg else _keys(keyword.value)
    elif isinstance(node, ast.List):
        yield from _firsts(node)


def _firsts(node: ast.List) -> Iterator[str]:
    """Yield the keys of a list of pairs."""
    for item in node.elts:
        first = item.elts[0] if isinstance(item, ast.Tuple) and item.elts else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value
