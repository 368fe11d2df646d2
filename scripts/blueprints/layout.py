"""The shape of a blueprint file: rows gathered into groups, short enough to read."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any

import yaml

from .derive import Row

Plain = dict[str, Any]


def blueprint_of(
    name: str,
    recipe: Plain,
    model: Any,
    found: Sequence[Row],
    blocks: Sequence[Row],
    fused: dict[str, list[str]],
    renamed: dict[str, str],
    tied: list[Plain],
    rules: Plain,
    requires: dict[str, list[Any]],
) -> Plain:
    """Assemble the plain data of one blueprint; empty parts are left out."""
    blueprint: Plain = {
        "architecture": name,
        "model_types": recipe.get("model_types") or [model.config.model_type],
        "evidence": {"source": _source(model), "verified": 0},
        "prefix": _base_prefix(model, found),
        "flat": recipe.get("flat"),
        "experts": _experts(found, blocks),
        **{
            part: dict(sorted({**rules.get(part, {}), **recipe.get(part, {})}.items()))
            for part in ("absent", "none", "alias", "sizes")
        },
        "kinds": rules.get("kinds"),
        "requires": {**requires, **recipe.get("requires", {})},
        "tied": tied,
        "renamed": {**renamed, **recipe.get("renamed", {})},
        "ignored": [*_ignored(model), *rules["ignored"], *recipe.get("ignored", [])],
        "extra_layers": recipe.get("extra_layers"),
        "tensors": groups(found),
        "fused": [
            {**group, "replaces": fused[_full(group, leaf)]}
            for row in blocks
            for group in groups([row])
            for leaf in group["tensors"]
        ],
    }
    return {key: value for key, value in blueprint.items() if value}


def _source(model: Any) -> str:
    return str(getattr(model, "source", f"transformers {importlib.metadata.version('transformers')}"))


def _full(group: Plain, leaf: str) -> str:
    return f"{group['at']}.{leaf}" if "at" in group else leaf


def _base_prefix(model: Any, found: Sequence[Row]) -> str:
    prefix = str(model.base_model_prefix or "")
    inside = any(row.template.startswith(f"{prefix}.") for row in found)
    is_base = not hasattr(model, prefix) if prefix else True
    return prefix if prefix and (inside or is_base) else ""


def _experts(found: Sequence[Row], blocks: Sequence[Row]) -> Plain | None:
    if any(row.kind == "expert" for row in blocks):
        return {"saved": "one tensor per expert", "in_memory": "one block per layer since transformers 5"}
    if any(row.kind == "expert" for row in found):
        single = any(row.kind == "expert" and ".experts.*." in row.template for row in found)
        return {"saved": "one tensor per expert" if single else "one block per layer"}
    return None


def _ignored(model: Any) -> list[str]:
    """Prefix patterns among the names that the class drops silently; others are left out (a note at most)."""
    found = []
    for pattern in sorted(model._keys_to_ignore_on_load_unexpected or []):
        plain = pattern.removeprefix("^").removesuffix(".*").replace(r"\.", ".")
        if pattern.startswith("^") and re.fullmatch(r"[\w.]+", plain):
            found.append(f"{plain}**")
    return found


def groups(found: Sequence[Row]) -> list[Plain]:
    """Gather rows with the same place, condition and domains."""
    gathered: dict[tuple[str, str, str], Plain] = {}
    for row in found:
        at, leaf = _place(row.template)
        group = gathered.setdefault(
            (at, repr(row.when), repr(row.over)),
            {
                **({"at": at} if at else {}),
                **({"over": row.over} if row.over else {}),
                **({"when": row.when} if row.when else {}),
                "tensors": {},
            },
        )
        group["tensors"][leaf] = [row.kind, *map(_number, row.dims)]
    return list(gathered.values())


def _place(template: str) -> tuple[str, str]:
    parts = template.split(".")
    stars = [place for place, part in enumerate(parts) if part == "*"]
    cut = stars[-1] + 1 if stars else 0
    return ".".join(parts[:cut]), ".".join(parts[cut:])


def _number(dim: str) -> int | str:
    return int(dim) if dim.isdigit() else dim


class _Dumper(yaml.SafeDumper):
    """Lists that two groups share are written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_LAST = ("tensors", "fused", "otherwise")


def dump(blueprint: Plain) -> str:
    """Spell a blueprint as YAML with one line per tensor."""
    lines = ["# Written by scripts/architectures.py; change that, not this file.\n"]
    order = [key for key in blueprint if key not in _LAST] + [key for key in _LAST if key in blueprint]
    for key in order:
        value = blueprint[key]
        width = 1000 if key in ("tensors", "fused", "otherwise") else 108
        flow = None if key in ("tensors", "fused", "tied", "otherwise") else True
        text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=width)
        if flow:
            lines.append(f"{key}: " + text.removesuffix("...\n").rstrip().replace("\n", "\n ") + "\n")
        else:
            lines.append(f"{key}:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    return "".join(lines)
