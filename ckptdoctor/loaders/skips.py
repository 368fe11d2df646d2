"""How each loader matches a skip list against module names. Three dialects of one idea, none of them alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from . import facts

_BOUNDARY = r"(?:(?<=\.)|(?=\.|$))"


def transformers5(name: str, patterns: Iterable[str]) -> bool:
    """Match as ``should_convert_module`` of transformers 5: prefix or regex with a boundary, or suffix."""
    return any(name.endswith(pattern) or _regex(pattern, name) for pattern in patterns)


def transformers4(name: str, patterns: Iterable[str]) -> bool:
    """Match as ``integrations/bitsandbytes.py`` of transformers 4: the name, its last part, or ``entry.`` anywhere."""
    last = name.rpartition(".")[2]
    return any(pattern in (name, last) or f"{pattern}." in name for pattern in patterns)


def vllm_bnb(name: str, patterns: Sequence[str]) -> bool:
    """Match as ``is_layer_skipped_bnb`` of vLLM: a path component or a dotted prefix of vLLM's own module name."""
    parts = name.split(".")
    prefixes = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return any(part in patterns for part in parts) or any(prefix in patterns for prefix in prefixes)


def compressed_tensors(name: str, patterns: Iterable[str]) -> bool:
    """Match as compressed-tensors and vLLM do: the very name, or ``re:`` and an expression from its start."""
    return any(
        starts(pattern[3:], name) if pattern.startswith("re:") else pattern == name for pattern in patterns
    )


def vllm_names(module: str, data: Mapping[str, object]) -> tuple[str, ...]:
    """Return a module's own name and that of the fused layer it becomes a part of in vLLM."""
    parent, _, last = module.rpartition(".")
    fused = (name for name, parts in facts.groups(data) if last in parts)
    return (module, *(f"{parent}.{name}" if parent else name for name in fused))


def starts(pattern: str, name: str) -> bool:
    """Whether an expression matches from the start of a name; one that could run away matches nothing."""
    found = _compiled(pattern)
    return found is not None and found.match(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    if len(pattern) > 500 or _NESTED.search(pattern):
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None


def _regex(pattern: str, name: str) -> bool:
    """Apply an entry as a regular expression, but only where that cannot run away on a hostile one."""
    if len(pattern) > 500 or _NESTED.search(pattern):
        return name == pattern or name.startswith(f"{pattern}.")
    try:
        return re.match(rf"(?:{pattern}){_BOUNDARY}", name) is not None
    except (re.error, RecursionError, OverflowError):
        return False


_NESTED = re.compile(r"[*+}]\)?[*+{]|\([^)]*[*+][^)]*\)[*+{]")
"""Quantifier on a quantifier: the shape of regular expressions that take exponential time."""
