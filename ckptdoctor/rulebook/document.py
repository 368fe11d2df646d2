"""YAML files of the rulebook as plain values that remember their lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from ..ruledata import RulebookError

Path_: TypeAlias = tuple[str | int, ...]


class Document(NamedTuple):
    """One parsed file: its value, and the line on which each key or item starts."""

    file: str
    """POSIX path as shown in errors, ``rules/bnb/missing-companion.yaml``."""
    value: Any
    lines: dict[Path_, int]

    def line(self, path: Path_) -> int | None:
        """Return the 1-based line of ``path``, of its closest parent when it is not in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def error(self, path: Path_, message: str) -> RulebookError:
        """Return the error that blames ``path``."""
        return RulebookError(self.file, self.line(path), message)


# YAML 1.2's core schema. PyYAML's own (1.1) reads `no` as False, 2026-01-02 as a date and 12:30 as 750.
_SCALARS = (
    (re.compile(r"(?:~|null|)\Z"), lambda text: None),
    (re.compile(r"(?:true|false)\Z"), lambda text: text == "true"),
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), int),
    (
        re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:e[-+]?[0-9]+)?|[0-9]+e[-+]?[0-9]+)\Z", re.IGNORECASE),
        float,
    ),
)


_MAX_VALUES = 200_000
"""Values of one file; the largest of ours has some 20,000."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Tells plain scalars from quoted ones and leaves their meaning to us."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def load(path: Path, shown: str) -> Document:
    """Parse one YAML file. Raises RulebookError for bad YAML, a duplicate key, a key that is no string."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
    except RecursionError:
        raise RulebookError(shown, None, "nested too deeply: a card has a few levels") from None
    except UnicodeDecodeError as error:
        raise RulebookError(shown, None, f"not UTF-8: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise RulebookError(shown, mark.line + 1 if mark else None, f"not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise RulebookError(shown, None, f"not YAML: {error}") from error
    document = Document(shown, None, {(): 1})
    if root is None:
        raise document.error((), "the file is empty")
    try:
        return document._replace(value=_build(document, root, ()))
    except RecursionError:
        raise RulebookError(shown, None, "nested too deeply: a card has a few levels") from None


def _build(document: Document, node: yaml.Node, path: Path_) -> Any:
    if len(document.lines) > _MAX_VALUES:  # aliases of aliases make any number of them
        raise document.error(path[:1], f"more than {_MAX_VALUES} values, aliases written out")
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_build(document, item, (*path, place)) for place, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and not node.style:  # plain, so neither quoted nor a block
        for pattern, convert in _SCALARS:
            if pattern.match(node.value):
                try:
                    return convert(node.value)
                except ValueError:  # an integer of more than 4300 digits
                    raise document.error(path, "a number has too many digits") from None
    return node.value


def _mapping(document: Document, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise RulebookError(document.file, line, "a key must be a plain string")
        if key.value in value:
            raise RulebookError(document.file, line, f"key {key.value!r} is given twice")
        place = (*path, key.value)
        document.lines[place] = line
        value[key.value] = _build(document, item, place)
    return value
