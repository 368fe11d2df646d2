"""What a rule file must be: its JSON Schema, and what a schema cannot say. Errors name file and line."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, relevance

from ..ruledata import RulebookError
from . import behaviours, examples, formats
from .book import Rules
from .document import Document, Path_
from .patterns import PLACEHOLDER
from .versions import Span, compile_spec, spec_keys, unreachable


def check(rules: Path, book: Rules) -> None:
    """Validate every file of ``book``. Raises RulebookError for the first that is wrong."""
    kinds = (
        ("card", book.cards),
        ("loader", book.loaders),
        ("format", book.formats),
        ("scheme", book.schemes),
    )
    for kind, documents in kinds:
        schema = rules / f"{kind}.schema.json"
        if documents:
            _schema(schema, documents)
    if shared := {rule: card for rule, card in book.cards.items() if examples.share(card)}:
        whole = {rule: examples.written_out(card) for rule, card in shared.items()}
        _schema(rules / "card.schema.json", whole)
    for rule, document in book.cards.items():
        card(rule, document, book.loaders, book.cards)
    for documents in (book.loaders, book.schemes, book.architectures):
        for document in documents.values():
            _specs(document, document.value, ())
    _names(book)
    formats.check(book.formats, book.schemes)
    behaviours.check(book.loaders)


def _schema(schema: Path, documents: Mapping[str, Document]) -> None:
    try:
        validator = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    except OSError as error:
        raise RulebookError(schema.name, None, f"cannot be read: {error.strerror}") from error
    conform(validator, documents)


def conform(validator: Draft202012Validator, documents: Mapping[str, Document]) -> None:
    """Validate every document. Raises RulebookError for the first that is wrong."""
    for document in documents.values():
        problems = list(validator.iter_errors(document.value))
        if problems:
            raise _blame(document, max(problems, key=_telling))


def _telling(problem: ValidationError) -> Any:
    """Rank problems: any wrong value makes its siblings "unevaluated" too, so those come last."""
    return problem.validator != "unevaluatedProperties", relevance(problem)


def _blame(document: Document, problem: ValidationError) -> RulebookError:
    """Descend into the branch of a oneOf/anyOf that came closest, and say what is wrong there."""
    while problem.context:
        problem = max(problem.context, key=lambda branch: (len(branch.absolute_path), relevance(branch)))
    path = tuple(problem.absolute_path)
    message = problem.message
    if problem.validator == "additionalProperties" and isinstance(problem.instance, dict):
        known = problem.schema.get("properties", {}) if isinstance(problem.schema, dict) else {}
        extra = next((key for key in problem.instance if key not in known), None)
        if extra is not None:
            path, message = (
                (*path, extra),
                f"unknown key {extra!r}; expected one of {', '.join(sorted(known))}",
            )
    if len(message) > 300:
        message = f"{message[:200]} … {message[-90:]}"
    where = "/".join(map(str, path))
    return document.error(path, f"{where}: {message}" if where else message)


def card(rule: str, document: Document, loaders: Collection[str], rules: Collection[str]) -> None:
    """Check what a schema cannot say of a card; it may state outcomes of ``loaders`` and yield to ``rules``."""
    card = document.value
    if card.get("id", rule) != rule:
        raise document.error(("id",), f"id: the path makes it {rule!r}, got {card['id']!r}")
    if (card["kind"] != "reading") != ("severity" in card):
        raise document.error(
            ("kind",), "severity: a defect or policy states one, a reading never does (outcomes decide)"
        )
    if card["kind"] == "policy" and "outcomes" in card:
        raise document.error(
            ("outcomes",), "outcomes: a policy has none, it is about your own rules, not a loader"
        )
    if "{" in PLACEHOLDER.sub("", card["message"]):
        raise document.error(
            ("message",), "message: a brace that is no {placeholder} of lower-case letters and _"
        )
    _prose(document)
    for place, other in enumerate(card.get("yields_to", ())):
        if other not in rules or other == rule:
            raise document.error(("yields_to", place), f"yields_to: there is no other rule {other!r}")
    for loader, rows in card.get("outcomes", {}).items():
        if loader != "any" and loaders and loader not in loaders:
            known = ", ".join(loaders)
            raise document.error(
                ("outcomes", loader), f"outcomes: no loader {loader!r}; expected any, {known}"
            )
        if not isinstance(rows, str):
            _rows(document, ("outcomes", loader), rows)


def _prose(document: Document) -> None:
    """What is said of a rule in general is shown as it stands: a placeholder in it would be shown too."""
    for key in ("summary", "why", "how_to_fix"):
        if found := PLACEHOLDER.search(document.value.get(key, "")):
            why = "message, errors and fix take placeholders, this is shown as it stands"
            raise document.error((key,), f"{key}: no {found[0]} here; {why}")


def _rows(document: Document, path: Path_, rows: list[dict[str, Any]]) -> None:
    spans = []
    for place, row in enumerate(rows):
        spans.append(
            Span(spec(document, (*path, place, "versions"), row.get("versions", "")), row.get("when", {}))
        )
    for place, why in unreachable(spans):
        raise document.error(
            (*path, place), f"{'/'.join(map(str, path))}: row {place + 1} is never reached: {why}"
        )


def _specs(document: Document, value: Any, path: Path_) -> None:
    """Check every specifier, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in spec_keys(value):
                spec(document, (*path, key), item)
            else:
                _specs(document, item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _specs(document, item, (*path, place))


def spec(document: Document, path: Path_, text: Any) -> Any:
    """Compile one version specifier, blaming ``path`` when it is wrong."""
    if not isinstance(text, str):
        raise document.error(
            path, f"{'/'.join(map(str, path))}: expected text such as '>=0.8.5', got {text!r}"
        )
    try:
        return compile_spec(text)
    except ValueError as error:
        raise document.error(path, f"{'/'.join(map(str, path))}: {error}") from error


def _names(book: Rules) -> None:
    """File names that become names elsewhere must be what they are said to be."""
    for stem, document in book.loaders.items():
        if document.value.get("loader") != stem:
            raise document.error(
                ("loader",), f"loader: expected {stem!r}, got {document.value.get('loader')!r}"
            )
    for stem, document in book.architectures.items():
        if not stem.isidentifier() or not isinstance(document.value, dict):
            raise document.error((), "expected a mapping in a file named after a model class")
