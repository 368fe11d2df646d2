"""Formats → what every run reads of them: each one, and what they say together (``ckptdoctor/formats/tables.py``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..schemes.bnb4 import SCHEMES
from .document import Document

_PROSE = frozenset(("summary", "references", "own_schemes"))
_SHARED = frozenset(
    ("spellings", "families", "marks", "places", "codes", "companions", "lone_companions", "stems", "scales")
) | {"unjudged", "parts"}
"""What is only looked up in what all formats say together."""

Formats = Mapping[str, Document]


def compiled(formats: Formats) -> dict[str, Any]:
    """Return the part of ``hot.json`` that is about formats."""
    values = {name: document.value for name, document in formats.items()}
    rows = list(values.items())
    return {
        "each": {name: _own(value) for name, value in rows},
        "methods": _owners(values, "methods"),
        "families": _owners(values, "families"),
        "spellings": {
            other: value["methods"][0] for _, value in rows for other in value.get("spellings", ())
        },
        "marks": _marks(values),
        "unnamed": next((name for name, value in rows if value.get("unnamed")), ""),
        "places": _places(values),
        **{key: _union(values, key) for key in ("codes", "companions", "unjudged")},
        "lone_companions": [row for _, value in rows for row in value.get("lone_companions", ())],
        "stems": [
            [value["stems"]["codes"], value["stems"]["scales"]] for _, value in rows if "stems" in value
        ],
        "scales": {scheme: leaf for _, value in rows for scheme, leaf in value.get("scales", {}).items()},
        "names": _parts(values, "names"),
        "starts": _parts(values, "starts"),
        "endings": sorted(_parts(values, "endings"), key=lambda ending: (-len(ending), ending)),
    }


def _own(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in _PROSE | _SHARED} | {
        "schemes": [*value.get("schemes", ()), *value.get("own_schemes", ())]
    }


def _owners(values: Mapping[str, Any], key: str) -> dict[str, str]:
    """Item under ``key`` → the format that states it."""
    return {item: name for name, value in values.items() for item in value.get(key, ())}


def _marks(values: Mapping[str, Any]) -> list[list[Any]]:
    """Those with most keys first."""
    rows = [[mark, name] for name, value in values.items() for mark in value.get("marks", ())]
    return sorted(rows, key=lambda row: (-len(row[0]), row[1]))


def _places(values: Mapping[str, Any]) -> list[list[Any]]:
    """Those in config.json first, as loaders look there first."""
    rows = [
        [place["file"], place.get("path", []), value["methods"][0] if place.get("implied") else ""]
        for value in values.values()
        for place in value.get("places", ())
    ]
    return sorted(rows, key=lambda row: (row[0] != "config.json", row))


def _union(values: Mapping[str, Any], key: str) -> list[str]:
    return sorted({item for value in values.values() for item in value.get(key, ())})


def _parts(values: Mapping[str, Any], key: str) -> list[str]:
    return sorted({item for value in values.values() for item in value.get("parts", {}).get(key, ())})


def own_schemes(formats: Formats) -> Iterator[tuple[str, Document]]:
    """Yield the schemes that formats define themselves, each as a file of its own would."""
    for document in formats.values():
        found = document.value.get("own_schemes") if isinstance(document.value, dict) else None
        for scheme, value in found.items() if isinstance(found, dict) else ():
            here = ("own_schemes", scheme)
            lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == here}
            yield scheme, document._replace(value=value, lines=lines)


def check(formats: Formats, schemes: Collection[str]) -> None:
    """Check what a schema cannot say. Raises RulebookError for the first that is wrong."""
    owner: dict[str, str] = {}
    for name, document in formats.items():
        value = document.value
        for method in (*value.get("methods", ()), *value.get("spellings", ())):
            if owner.setdefault(method, name) != name:
                raise document.error(("methods",), f"methods: {method!r} is a method of {owner[method]}")
        for key, path in _schemes_in(value):
            if key not in schemes and key not in SCHEMES:
                raise document.error(path, f"{'/'.join(path)}: there is no scheme {key!r} in rules/schemes")
        if "spellings" in value and "methods" not in value:
            raise document.error(("spellings",), "spellings: of which method? state methods")
    unnamed = [name for name, document in formats.items() if document.value.get("unnamed")]
    if len(unnamed) > 1:
        raise formats[unnamed[1]].error(("unnamed",), f"unnamed: {unnamed[0]} is that already")


def _schemes_in(value: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key in ("schemes", "stores", "numbers", "unjudged", "usual", "scales"):
        yield from ((scheme, (key,)) for scheme in value.get(key, ()))
    for word, row in value.get("words", {}).items():
        yield from ((scheme, ("words", word)) for scheme in row.get("schemes", ()))
        if "bare" in row:
            yield row["bare"], ("words", word, "bare")
