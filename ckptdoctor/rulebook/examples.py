"""Examples of a card written out: each that states only its ``change`` becomes the shared ``base`` so changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .document import Document
from .recipe import patched


def share(document: Document) -> bool:
    """Whether examples of a card share a recipe, or mean to."""
    parts = document.value["examples"]
    return "base" in parts or any("change" in example for kind in ("bad", "good") for example in parts[kind])


def written_out(document: Document) -> Document:
    """Return the card with whole recipes. Raises RulebookError for a change of nothing, a base nobody changes."""
    parts = document.value["examples"]
    base = parts.get("base")
    used = False
    whole: dict[str, Any] = {}
    for kind in ("bad", "good"):
        whole[kind] = []
        for place, example in enumerate(parts[kind]):
            if "change" not in example:
                whole[kind].append(example)
                continue
            if base is None:
                path = ("examples", kind, place, "change")
                raise document.error(path, "change: of nothing; examples/base is what all changes start from")
            used = True
            whole[kind].append(_changed(base, example))
    if base is not None and not used:
        raise document.error(("examples", "base"), "examples/base: no example changes it")
    return document._replace(value={**document.value, "examples": whole})


def _changed(base: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with the merge patch of an example; what else the example says is not of the checkpoint."""
    said = {key: value for key, value in example.items() if key != "change"}
    return {**patched(base, example["change"]), **said}
