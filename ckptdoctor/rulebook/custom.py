"""Card directories of the user's own (``rules = ["./my-cards"]``): as strict as ours, less what only ours need."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from ..ruledata import Rulebook, RulebookError
from ..ruledata.cards import card_from
from . import compile, validate
from .book import Rules
from .document import Document, load

_OPTIONAL = ("why", "how_to_fix", "since", "status", "references", "examples")
"""What a card of our own must have and a card of the user's may."""


def extended(rulebook: Rulebook, folders: Sequence[Path], plugins: Sequence[str] = ()) -> Rulebook:
    """Return ``rulebook`` with the cards of ``folders``: ``my-cards/no-pickles.yaml`` is ``my-cards/no-pickles``.

    Checks are ours or those of ``plugins``. Raises RulebookError, with file and line, for the first card that is wrong.
    """
    validator = Draft202012Validator(schema(rulebook))
    families = {card.id.split("/")[0] for card in rulebook.cards}
    documents: dict[str, Document] = {}
    for folder in folders:
        if folder.name in families or not folder.is_dir():
            why = (
                "a family of ckptdoctor's own rules; call the folder otherwise"
                if folder.is_dir()
                else "no folder"
            )
            raise RulebookError(str(folder), None, f"{folder.name!r} is {why}")
        families.add(folder.name)
        found = _read(folder)
        if not found:
            raise RulebookError(str(folder), None, "holds no card (*.yaml)")
        documents |= found
    validate.conform(validator, documents)
    known = {*documents, *(card.id for card in rulebook.cards)}
    for rule, document in documents.items():
        validate.card(rule, document, rulebook.loaders, known)
        _check(document, plugins)
        _fill(document.value)
    return _merged(rulebook, documents, plugins)


def schema(rulebook: Rulebook) -> dict[str, Any]:
    """Return the schema of a card of the user's own."""
    relaxed: dict[str, Any] = copy.deepcopy(dict(rulebook.card_schema()))
    relaxed["required"] = [key for key in relaxed["required"] if key not in _OPTIONAL]
    relaxed.pop("if", None)
    relaxed.pop("then", None)
    return relaxed


def _read(folder: Path) -> dict[str, Document]:
    return {f"{folder.name}/{path.stem}": load(path, str(path)) for path in sorted(folder.glob("*.yaml"))}


def _check(document: Document, plugins: Sequence[str]) -> None:
    """The check a card names must be there, and its parameters as that check wants them."""
    name = document.value["check"]
    family, _, function = name.rpartition(".")
    place = family if family in plugins else f"ckptdoctor.checks.{family}"
    try:
        module = import_module(place)
    except ModuleNotFoundError:
        module = None
    if not callable(getattr(module, function, None)) or function.startswith("_"):
        raise document.error(("check",), f"check: there is no check {name!r}")
    wanted = getattr(module, "PARAMETERS", {}).get(function)
    if wanted is not None:
        _parameters(document, wanted)


def _parameters(document: Document, wanted: Mapping[str, Any]) -> None:
    given = document.value.get("with", {})
    for key in [*wanted, *given]:
        if (key in wanted) != (key in given):
            what = "missing" if key in wanted else f"unknown; expected {', '.join(wanted)}"
            raise document.error(("with", key), f"with/{key}: {what}")
    for key, reader in wanted.items():
        try:
            reader(given[key])
        except ValueError as error:
            raise document.error(("with", key), f"with/{key}: {error}") from error


def _fill(value: dict[str, Any]) -> None:
    value.setdefault("status", "stable")
    value.setdefault("references", [])
    value.setdefault("examples", {"bad": []})


def _merged(rulebook: Rulebook, documents: dict[str, Document], plugins: Sequence[str]) -> Rulebook:
    book = Rules(documents, {}, {}, {})
    hot = compile.hot(book)
    return rulebook.replace(
        digest=f"{rulebook.digest}+{hot['digest']}",
        cards=(*rulebook.cards, *map(card_from, hot["cards"])),
        prose=compile.cold(book),
        plugins=rulebook.plugins.union(plugins),
    )
