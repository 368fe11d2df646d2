"""What a declaration says of single modules: which are left alone, which are other than the rest, in every dialect.

Each writer has its own: a list of names, of expressions, of wildcards, a list of what *is* quantised, or a table of
settings by name. All become entries; `matching` says which modules an entry means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from ..checkpoint.nouns import Declared

Dialect: TypeAlias = Literal[
    "transformers", "compressed-tensors", "modelopt", "awq", "blocks", "dynamic", "by-name", "regex"
]
Effect: TypeAlias = Literal["skip", "only", "override"]

MAX_DEPTH = 4
_LISTS: tuple[tuple[str, Dialect], ...] = (
    ("llm_int8_skip_modules", "transformers"),
    ("modules_to_not_convert", "transformers"),
    ("ignored_layers", "transformers"),
    ("ignore", "compressed-tensors"),
    ("exclude_modules", "modelopt"),
    ("exclude", "modelopt"),
    ("skip_modules", "transformers"),
)
_OF_METHOD: Mapping[tuple[str, str], Dialect] = {
    ("awq", "modules_to_not_convert"): "awq",
    ("modelopt", "ignore"): "modelopt",
    ("modelopt_fp4", "ignore"): "modelopt",
    ("modelopt_mixed", "ignore"): "modelopt",
    ("torchao", "modules_to_not_convert"): "transformers",
}
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


def entries(declared: Declared) -> tuple[Entry, ...]:
    """Return every entry of a declaration, in the order in which they are tried."""
    return (*_listed(declared), *_blocks(declared), *_dynamic(declared), *_tables(declared))


def _listed(declared: Declared) -> Iterator[Entry]:
    block = declared.block
    modelopt = "quant_algo" in block
    for key, usual in _LISTS:
        value = block.get(key)
        dialect = _OF_METHOD.get((declared.method, key), usual)
        if modelopt and key == "ignore":
            dialect = "modelopt"
        if isinstance(value, list) and value:
            for index, text in enumerate(value):
                if isinstance(text, str):
                    yield Entry(text, dialect, "skip", declared.file, f"{declared.pointer}/{key}/{index}")
            return  # loaders take the first list that is not empty


def _blocks(declared: Declared) -> Iterator[Entry]:
    key = "modules_in_block_to_quantize"
    for pointer, text in _strings(declared.block.get(key), f"{declared.pointer}/{key}"):
        yield Entry(text, "blocks", "only", declared.file, pointer)


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
        yield Entry(text, "dynamic", "skip" if skips else "override", declared.file, pointer, told)


def _tables(declared: Declared) -> Iterator[Entry]:
    """Settings by full name: MLX beside its numbers, AutoRound and torchao in a table of their own."""
    for key, value in declared.block.items():
        if isinstance(value, dict) and key in ("extra_config", "module_fqn_to_config", "fqn_to_config"):
            for name, settings in value.items():
                yield from _row(declared, f"/{key}/{_escaped(name)}", name, settings)
        elif "." in key or key in ("lm_head", "visual"):
            yield from _row(declared, f"/{_escaped(key)}", key, value)


def _row(declared: Declared, pointer: str, name: str, settings: object) -> Iterator[Entry]:
    dialect: Dialect = "regex" if name.startswith("re:") else "by-name"
    text = name.removeprefix("re:")
    at = declared.pointer + pointer
    bits = settings.get("bits") if isinstance(settings, dict) else None
    if settings is False or settings is None or (isinstance(bits, int) and bits >= _FULL):
        yield Entry(text, dialect, "skip", declared.file, at)
    elif isinstance(settings, dict):
        yield Entry(text, dialect, "override", declared.file, at, settings)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
