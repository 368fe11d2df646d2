"""Recipe operations on the JSON files beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def assign(directory: Path, args: dict[str, Any]) -> None:
    """Set the value at the JSON pointer `at` of `file` (config.json) to `to`, making parents as needed."""
    path = directory / args.get("file", "config.json")
    document = json.loads(path.read_text())
    *parents, last = steps(args["at"])
    holder = document
    for step in parents:
        holder = holder[int(step)] if isinstance(holder, list) else holder.setdefault(step, {})
    holder[int(last) if isinstance(holder, list) else last] = args["to"]
    save(path, document)


def drop(directory: Path, args: dict[str, Any]) -> None:
    """Remove the value at the JSON pointer `at`, or at each of several, from `file` (config.json)."""
    path = directory / args.get("file", "config.json")
    document = json.loads(path.read_text())
    for pointer in [args["at"]] if isinstance(args["at"], str) else args["at"]:
        *parents, last = steps(pointer)
        holder = document
        for step in parents:
            holder = holder[int(step) if isinstance(holder, list) else step]
        del holder[int(last) if isinstance(holder, list) else last]
    save(path, document)


def steps(pointer: str) -> list[str]:
    """The unescaped reference tokens of a JSON pointer (RFC 6901)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def save(path: Path, document: Any) -> None:
    """Write JSON as transformers does: two spaces, a final newline."""
    path.write_text(json.dumps(document, indent=2) + "\n")
