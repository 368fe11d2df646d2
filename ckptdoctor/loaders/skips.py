"""How each loader matches a skip list against module names. Three dialects of one idea, none of them alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
