"""How each loader matches a skip list against module names. Three dialects of one idea, none of them alike.

Each function takes the list and returns the test of a name. Exact names are looked up, expressions are compiled once
and matched within a budget: both the list and the model may have tens of thousands of entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ...skiplists.safe_regex import Expression

Test = Callable[[str], bool]

_PLAIN = re.compile(r"[\w.\-]*[\w\-]\Z")


def transformers5(patterns: Iterable[str]) -> Test:
    """Match as ``should_convert_module`` of transformers 5: prefix or regex with a boundary, or suffix."""
    listed = list(dict.fromkeys(patterns))
    names = frozenset(pattern for pattern in listed if _PLAIN.match(pattern))
    expressions = expressions_of(listed, lambda text: text not in names, boundary=True)
    ends = _Endings(listed)
    return lambda name: (
        any(prefix in names for prefix in _prefixes(name))
        or ends.has(name)
        or any(found.match(name) for found in expressions)
    )


def transformers4(patterns: Iterable[str]) -> Test:
    """Match as ``integrations/bitsandbytes.py`` of transformers 4: the name, its last part, or ``entry.`` anywhere."""
    listed = frozenset(patterns)
    ends = _Endings(listed)
    return lambda name: (
        name in listed
        or name.rpartition(".")[2] in listed
        or any(ends.has(parent) for parent in _prefixes(name.rpartition(".")[0]))
    )


def vllm_bnb(patterns: Iterable[str]) -> Test:
    """Match as ``is_layer_skipped_bnb`` of vLLM: a path component or a dotted prefix of vLLM's own module name."""
    listed = frozenset(patterns)
    return lambda name: (
        not listed.isdisjoint(name.split(".")) or any(prefix in listed for prefix in _prefixes(name))
    )


def compressed_tensors(patterns: Iterable[str]) -> Test:
    """Match as compressed-tensors and vLLM do: the very name, or ``re:`` and an expression from its start."""
    listed = frozenset(patterns)
    rules = expressions_of((text[3:] for text in listed if text.startswith("re:")), lambda text: True)
    return lambda name: name in listed or any(rule.match(name) for rule in rules)


def from_start(patterns: Iterable[str]) -> Test:
    """Match as the rules of GPTQModel: expressions, from the start of a name."""
    rules = expressions_of(patterns, lambda text: True)
    return lambda name: any(rule.match(name) for rule in rules)


def expressions_of(texts: Iterable[str], wanted: Test, *, boundary: bool = False) -> list[Expression]:
    """Compile the expressions among ``texts``; what is no expression matches nothing, as no loader gets that far."""
    found = []
    for text in texts:
        if wanted(text):
            try:
                found.append(Expression(text, boundary=boundary))
            except (re.error, RecursionError, OverflowError):
                continue
    return found


def _prefixes(name: str) -> Iterable[str]:
    """Yield every dotted prefix of a name, itself first."""
    while name:
        yield name
        name = name.rpartition(".")[0]


class _Endings:
    """Texts that a name may end with, sorted by what follows their last dot so that few are tried."""

    def __init__(self, texts: Iterable[str]) -> None:
        sorted_: dict[str, list[str]] = {}
        for text in texts:
            sorted_.setdefault(text.rpartition(".")[2] if "." in text else "", []).append(text)
        self._anywhere = tuple(sorted_.pop("", ()))
        self._by_last = {last: tuple(group) for last, group in sorted_.items()}

    def has(self, name: str) -> bool:
        """Whether ``name`` ends with one of them."""
        return name.endswith(self._anywhere + self._by_last.get(name.rpartition(".")[2], ()))
