"""``rules/memory.yaml``, for ``ckptdoctor fit``: what layers keep of a sequence, the memory of GPUs, what needs one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from . import validate
from .document import load


def read(rules: Path) -> dict[str, Any]:
    """Return the file, validated, with cache rows by class. Raises RulebookError for the first mistake.

    A rules folder without it (a test's) knows no class and no GPU.
    """
    if not (rules / "memory.yaml").is_file():
        return {"cache": {}, "gpus": [], "unpacked_on_cpu": {}}
    document = load(rules / "memory.yaml", f"{rules.name}/memory.yaml")
    schema = json.loads((rules / "memory.schema.json").read_text(encoding="utf-8"))
    validate.conform(Draft202012Validator(schema), {"memory": document})
    by_class: dict[str, Any] = {}
    for place, row in enumerate(document.value["cache"]):
        for name in row["classes"]:
            if name in by_class:
                raise document.error(("cache", place, "classes"), f"{name} has a row already")
            by_class[name] = {key: value for key, value in row.items() if key != "classes"}
    unpacked = {row["method"]: row["schemes"] for row in document.value["unpacked_on_cpu"]}
    return {"cache": by_class, "gpus": document.value["gpus"], "unpacked_on_cpu": unpacked}
