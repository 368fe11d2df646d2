"""Rule files → the JSON files a run reads (see ``ckptdoctor.ruledata``)."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from . import environment, formats, memory, observed, releases
from .book import Rules
from .files import read
from .patterns import TELLING, compile_text
from .versions import compile_spec, spec_keys

PROSE = ("summary", "why", "how_to_fix", "since", "references", "errors", "formerly", "failures")
STALE_S = 7 * 24 * 3600


def compile_rules(rules: str | Path) -> dict[str, str]:
    """Return the compiled files (name → JSON text) of a rules folder. Raises RulebookError."""
    # The schema travels with the rules: cards of the user's own are validated by it, where there is no rules folder.
    schema = (Path(rules) / "card.schema.json").read_text(encoding="utf-8")
    return {
        **render(read(Path(rules))),
        "environment.json": json.dumps(environment.read(Path(rules))),
        "memory.json": json.dumps(memory.read(Path(rules))),
        "card.schema.json": json.dumps(json.loads(schema)),
    }


def render(book: Rules) -> dict[str, str]:
    """Return the compiled files of a validated rulebook."""
    files = {"hot.json": hot(book), "cold.json": cold(book), "patterns.json": patterns(book)}
    files |= {
        f"architectures/{name}.json": specs(document.value) for name, document in book.architectures.items()
    }
    files["types.json"] = {
        model_type: name
        for name, document in book.architectures.items()
        if name.endswith("ForCausalLM")
        for model_type in document.value["model_types"]
    }
    return {name: json.dumps(data, separators=(",", ":"), ensure_ascii=True) for name, data in files.items()}


def hot(book: Rules) -> dict[str, Any]:
    """Return what every run reads."""
    data = {
        "cards": [
            card(rule, document.value, book.observed.get(rule, {})) for rule, document in book.cards.items()
        ],
        "loaders": {name: specs(releases.hot(document.value)) for name, document in book.loaders.items()},
        "schemes": {name: scheme(document.value) for name, document in book.schemes.items()},
        "formats": formats.compiled(book.formats),
    }
    return {"digest": sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16], **data}


def scheme(value: dict[str, Any]) -> dict[str, Any]:
    """Return the hot half of one scheme: what recognises and solves it."""
    return {key: value[key] for key in ("identify", "bits", "group", "roles") if key in value}


def card(rule: str, value: dict[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hot half of one card: the fields of ``ruledata.Card``; ``shown`` is what runs have shown of it."""
    return {
        "id": rule,
        "kind": value["kind"],
        "severity": value.get("severity", "note"),
        "status": value["status"],
        "check": value["check"],
        "params": value.get("with", {}),
        "message": value["message"],
        "outcomes": {
            loader: rows
            if isinstance(rows, str)
            else [_row(row, observed.of_row(shown, loader, place)) for place, row in enumerate(rows)]
            for loader, rows in value.get("outcomes", {}).items()
        },
        "observed": observed.of_computed(shown),
        "fix": value.get("fix", {}),
        **{key: value[key] for key in ("yields_to", "decided_by", "foreign") if key in value},
    }


def _row(row: dict[str, Any], versions: list[str]) -> list[Any]:
    return [
        compile_spec(row.get("versions", "")),
        row.get("when", {}),
        row["outcome"],
        row.get("errors", []),
        versions,
    ]


def cold(book: Rules) -> dict[str, Any]:
    """Return the prose of every card."""
    return {
        rule: {key: document.value[key] for key in PROSE if key in document.value}
        | {"fixable": fixable(document.value)}
        for rule, document in book.cards.items()
    }


def fixable(value: dict[str, Any]) -> bool:
    """Whether ckptdoctor repairs it: true when an example states the repaired checkpoint, never said twice."""
    return any("fixed" in example for example in value["examples"]["bad"])


def patterns(book: Rules) -> list[dict[str, Any]]:
    """Return every error text of every card with its regular expression, those left out that fit too much."""
    entries = []
    for rule, document in book.cards.items():
        texts = [(text, None) for text in document.value.get("errors", ())]
        for loader, rows in document.value.get("outcomes", {}).items():
            for row in rows if isinstance(rows, list) else ():
                texts += [(text, loader) for text in row.get("errors", ())]
        for text, loader in dict.fromkeys(texts):
            pattern = compile_text(text)
            if pattern.literal >= TELLING:
                known = len(document.value["references"]) + len(document.value.get("failures", ()))
                about = {"rule": rule, "text": text, "loader": loader, "known": known}
                entries.append({**about, **pattern._asdict()})
    return entries


def specs(value: Any) -> Any:
    """Return ``value`` with each specifier compiled, at any depth."""
    if isinstance(value, dict):
        keys = spec_keys(value)
        return {key: compile_spec(item) if key in keys else specs(item) for key, item in value.items()}
    if isinstance(value, list):
        return [specs(item) for item in value]
    return value


def store(files: dict[str, str], folder: str | Path) -> None:
    """Write compiled files to ``folder`` in one step, and drop siblings older than a week."""
    folder = Path(folder)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
    try:
        for name, text in files.items():
            path = made / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        try:
            made.rename(folder)
        except OSError:
            if not (folder / "hot.json").is_file():  # else another run was faster with the same content
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _prune(folder)


def _prune(keep: Path) -> None:
    for sibling in keep.parent.iterdir():
        if sibling != keep and sibling.is_dir() and time.time() - sibling.stat().st_mtime > STALE_S:
            shutil.rmtree(sibling, ignore_errors=True)
