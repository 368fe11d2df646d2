"""What a declaration says of single modules: which are left alone, which are other than the rest, in every dialect.

Each writer has its own: a list of names, of expressions, of wildcards, a list of what *is* quantised, or a table of
settings by name. All become entries; `matching` says which modules an entry means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from ..checkpoint.nouns import Declared

Dialect: TypeAlias = Literal["transformers", "exact", "component", "inside", "from-start", "by-name"]
"""How an entry is compared with the name of a module, see `matching`."""
Keys: TypeAlias = Mapping[str, Dialect]
"""Keys that a format has for lists of what is left alone, with the dialect of their entries."""
Effect: TypeAlias = Literal["skip", "only", "override"]

MAX_DEPTH = 4
_USUAL: tuple[tuple[str, Dialect], ...] = (
    ("llm_int8_skip_modules", "transformers"),
    ("modules_to_not_convert", "transformers"),
    ("ignored_layers", "transformers"),
    ("ignore", "exact"),
    ("exclude_modules", "component"),
    ("exclude", "component"),
    ("skip_modules", "transformers"),
)
"""What these keys mean unless a format says otherwise, in the order in which they are tried."""
_FULL = 16
"""Bits from which on AutoRound leaves a module as it is."""


class Entry(NamedTuple):
    """One line of a skip list, or one row of a table of settings."""

    text: str
    dialect: Dialect
    effect: Effect
    """``only``: a list with such entries names what is quantised, and leaves out all the rest."""
    file: str
    pointer: str
    settings: Mapping[str, object] = {}
    """What ``override`` changes: ``bits``, ``group_size``…"""


def entries(declared: Declared, keys: Keys) -> tuple[Entry, ...]:
    """Return every entry of a declaration, in the order in which they are tried; ``keys`` are its format's own."""
    return (*_listed(declared, keys), *_blocks(declared), *_dynamic(declared), *_tables(declared))


def _listed(declared: Declared, keys: Keys) -> Iterator[Entry]:
    usual = dict(_USUAL)
    for key in (*(key for key in keys if key not in usual), *usual):
        value = declared.block.get(key)
        dialect = keys[key] if key in keys else usual[key]
        if isinstance(value, list) and value:
            for index, text in enumerate(value):
                if isinstance(text, str):
                    yield Entry(text, dialect, "skip", declared.file, f"{declared.pointer}/{key}/{index}")
            return  # loaders take the first list that is not empty


def _blocks(declared: Declared) -> Iterator[Entry]:
    key = "modules_in_block_to_quantize"
    for pointer, text in _strings(declared.block.get(key), f"{declared.pointer}/{key}"):
        yield Entry(text, "inside", "only", declared.file, pointer)


def _strings(value: object, pointer: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the strings of a list, those of lists inside it too, with where each stands."""
    if isinstance(value, list) and depth < MAX_DEPTH:
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield f"{pointer}/{index}", item
            else:
                yield from _strings(item, f"{pointer}/{index}", depth + 1)


def _dynamic(declared: Declared) -> Iterator[Entry]:
    """GPTQModel: expressions, matched from the start of a name; ``-:`` leaves out, ``+:`` or nothing changes."""
    rules = declared.block.get("dynamic")
    for key, settings in rules.items() if isinstance(rules, dict) else ():
        pointer = f"{declared.pointer}/dynamic/{_escaped(key)}"
        skips = key.startswith("-:")
        text = key[2:] if key[:2] in ("-:", "+:") else key
        told = settings if isinstance(settings, dict) and not skips else {}
        yield Entry(text, "from-start", "skip" if skips else "override", declared.file, pointer, told)


def _tables(declared: Declared) -> Iterator[Entry]:
    """Settings by full name: MLX beside its numbers, AutoRound and torchao in a table of their own."""
    for key, value in declared.block.items():
        if isinstance(value, dict) and key in ("extra_config", "module_fqn_to_config", "fqn_to_config"):
            for name, settings in value.items():
                yield from _row(declared, f"/{key}/{_escaped(name)}", name, settings)
        elif "." in key or key in ("lm_head", "visual"):
            yield from _row(declared, f"/{_escaped(key)}", key, value)


def _row(declared: Declared, pointer: str, name: str, settings: object) -> Iterator[Entry]:
    dialect: Dialect = "from-start" if name.startswith("re:") else "by-name"
    text = name.removeprefix("re:")
    at = declared.pointer + pointer
    bits = settings.get("bits") if isinstance(settings, dict) else None
    if settings is False or settings is None or (isinstance(bits, int) and bits >= _FULL):
        yield Entry(text, dialect, "skip", declared.file, at)
    elif isinstance(settings, dict):
        yield Entry(text, dialect, "override", declared.file, at, settings)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
