"""The types that a configuration class accepts for its numbers: since transformers 5 it checks them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

# A share is a fraction of which nothing above one is accepted.
_PROBES = {
    "int": 1,
    "share": 0.5,
    "float": 1.5,
    "bool": True,
    "str": "auto",
    "list": [1],
    "dict": {"1": 1},
    "null": None,
}
_NUMBERS = {"int", "float", "share"}


def fields_of(config_class: type[Any]) -> dict[str, str]:
    """Keys of numbers by the types they may have (`int null`); those of sections by dotted names."""
    found: dict[str, list[str]] = {}
    for section, inner in {"": config_class, **_sections(config_class)}.items():
        for key, words in _accepted(inner):
            if _NUMBERS & set(words) and len(words) < len(_PROBES) - 1:
                found.setdefault(" ".join(words), []).append(section + key)
    return {words: " ".join(sorted(keys)) for words, keys in sorted(found.items())}


def _sections(config_class: type[Any]) -> dict[str, type[Any]]:
    """Sub-configurations that are always of one class."""
    subs = getattr(config_class, "sub_configs", {})
    return {f"{key}.": inner for key, inner in subs.items() if dataclasses.is_dataclass(inner)}


def _accepted(config_class: type[Any]) -> Iterator[tuple[str, list[str]]]:
    """Each declared field with the types that an instance lets itself be given."""
    if not dataclasses.is_dataclass(config_class):
        return
    settings = config_class()
    inherited = {field.name for field in dataclasses.fields(config_class.__mro__[1])}
    for field in dataclasses.fields(config_class):
        if (
            not field.init
            or field.name.startswith("_")
            or (field.name in inherited and "_id" not in field.name)
        ):
            continue
        words = []
        for word, probe in _PROBES.items():
            try:
                before = getattr(settings, field.name, None)
                setattr(settings, field.name, probe)
            except Exception:
                continue
            words.append(word)
            try:
                setattr(settings, field.name, before)
            except Exception:
                settings = config_class()
        yield field.name, [word for word in words if word != "share" or "float" not in words]
