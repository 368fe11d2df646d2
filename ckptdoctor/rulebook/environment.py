"""``rules/environment.yaml`` and ``requirements.yaml``: which versions of packages go together (``ckptdoctor env``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from . import validate
from .document import Document, Path_, load


def read(rules: Path) -> dict[str, Any]:
    """Return both files, validated; requirements as package → rows. Raises RulebookError for the first mistake.

    A rules folder without them (a test's) has an empty environment.
    """
    if not (rules / "environment.yaml").is_file():
        return {"packages": [], "breaks": [], "for_checkpoints": [], "requirements": {}}
    own = load(rules / "environment.yaml", f"{rules.name}/environment.yaml")
    schema = json.loads((rules / "environment.schema.json").read_text(encoding="utf-8"))
    validate.conform(Draft202012Validator(schema), {"environment": own})
    asked = load(rules / "requirements.yaml", f"{rules.name}/requirements.yaml")
    known = own.value["packages"]
    for place, row in enumerate(own.value["breaks"]):
        for number, span in enumerate(row["spans"]):
            _specs(own, ("breaks", place, "spans", number), span)
        _names(own, ("breaks", place), row, known)
    for place, row in enumerate(own.value["for_checkpoints"]):
        _specs(own, ("for_checkpoints", place), row)
        _names(own, ("for_checkpoints", place), row, known)
    for package, rows in asked.value.items():
        for place, row in enumerate(rows):
            _specs(asked, (package, place), row)
            _names(asked, (package, place), {"package": package, "with": row.get("package")}, known)
    kept = {key: own.value[key] for key in ("packages", "breaks", "for_checkpoints")}
    return {**kept, "requirements": asked.value}


def _specs(document: Document, path: Path_, row: dict[str, Any]) -> None:
    for key in ("versions", "spec"):
        try:
            SpecifierSet(row.get(key, ""))
        except InvalidSpecifier:
            raise document.error((*path, key), f"{key}: not a version specifier: {row[key]!r}") from None


def _names(document: Document, path: Path_, row: dict[str, Any], known: list[str]) -> None:
    for key in ("package", "with"):
        if row[key] not in known:
            raise document.error(path, f"{key}: {row[key]!r} is not among packages: {', '.join(known)}")
