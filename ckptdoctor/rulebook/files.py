"""The rule files of a folder, read and validated."""

from __future__ import annotations

from pathlib import Path

from . import examples, formats, observed, validate
from .book import Rules
from .document import Document, load

DATA = ("schemes", "loaders", "architectures", "formats")
"""Folders that hold data for the models; every other folder of ``rules/`` is a family of cards."""


def read(rules: Path) -> Rules:
    """Read and validate every rule file below ``rules``; examples come written out. Raises RulebookError."""
    found: dict[str, dict[str, Document]] = {kind: {} for kind in ("cards", *DATA)}
    for path in sorted(rules.glob("*/*.yaml")):
        folder = path.parent.name
        kind, key = (folder, path.stem) if folder in DATA else ("cards", f"{folder}/{path.stem}")
        found[kind][key] = load(path, f"{rules.name}/{folder}/{path.name}")
    for scheme, document in formats.own_schemes(found["formats"]):
        if scheme in found["schemes"]:
            raise document.error(
                ("own_schemes", scheme), f"own_schemes: rules/schemes has {scheme!r} already"
            )
        found["schemes"][scheme] = document
    book = Rules(**found, observed=observed.read(rules))
    validate.check(rules, book)
    return book._replace(cards={rule: examples.written_out(card) for rule, card in book.cards.items()})
