"""A digest of what a function or class does: of its syntax tree, so layout, comments and docstrings do not count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from hashlib import sha256

WHOLE = "*"
"""The name of everything in a file."""
ABSENT = "absent"
"""The digest of what is not there."""
_MEANINGLESS = frozenset({"type_comment", "type_ignores", "kind", "ctx", "type_params"})


def digest(source: str | None, name: str) -> str:
    """Return eight digits for a ``Class``, ``Class.method``, ``function``, ``CONSTANT`` or all (``*``) of a file."""
    if source is None:
        return ABSENT
    nodes = list(definitions(source, name))
    if not nodes:
        return ABSENT
    return sha256("\n".join(_written(node) for node in nodes).encode()).hexdigest()[:8]


def definitions(source: str, name: str) -> Iterator[ast.AST]:
    """Yield the syntax trees that ``name`` stands for in a file."""
    return _found(ast.parse(source), name.split("."))


def _found(tree: ast.AST, path: list[str]) -> Iterator[ast.AST]:
    """Yield every definition of that name: of two under an ``if``, or of overloads, each counts."""
    if path == [WHOLE]:
        yield tree
        return
    for node in _scope(tree):
        if path[0] in _names(node):
            if len(path) == 1:
                yield node
            else:
                yield from _found(node, path[1:])


def _scope(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements of a module or class, those under ``if`` and ``try`` included."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _scope(node)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _written(value: object) -> str:
    """Return a syntax tree as text that is the same in every Python: ``ast.dump`` shows fields by version."""
    if isinstance(value, ast.AST):
        fields = [
            f"{name}={_written(item)}"
            for name, item in ast.iter_fields(value)
            if name not in _MEANINGLESS and item not in (None, [])
        ]
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, list):
        return "[" + ",".join(_written(item) for item in value if not _is_docstring(item)) + "]"
    return repr(value)


def _is_docstring(node: object) -> bool:
    """Whether a statement is a bare text, which does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
