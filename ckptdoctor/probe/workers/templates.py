"""Names of modules and parameters with their numbers as `*`: layers and experts of one kind are told once."""

from __future__ import annotations

import re
from collections.abc import Mapping


def template(name: str) -> str:
    """A name with every number in it replaced by `*`."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def by_template(schemes: Mapping[str, str]) -> dict[str, str]:
    """The scheme of every template among modules, sorted; `mixed(...)` where those of one template do not agree."""
    grouped: dict[str, set[str]] = {}
    for name, scheme in schemes.items():
        grouped.setdefault(template(name), set()).add(scheme)
    return {
        name: next(iter(found)) if len(found) == 1 else f"mixed({','.join(sorted(found))})"
        for name, found in sorted(grouped.items())
    }
