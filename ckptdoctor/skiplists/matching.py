"""Which modules an entry of a skip list means, in time that a long list and a large model do not multiply.

Most entries cannot tell numbers apart, and are tried once for all modules of a template; one with a number is tried on
the modules of those templates that it may mean. For expressions that count letters names are folded by their digits:
50,000 experts are some dozens of names then. Expressions with digits are tried on all names, within a budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import NamedTuple

from ..checkpoint.nouns import Declared, Signature, View
from .entries import Dialect, Entry, Keys, entries
from .safe_regex import Expression, UnsafeRegex

Test = Callable[[str], bool]

_PER_ENTRY = 10
"""Steps that an entry costs before it is compared with any name."""
MAX_STEPS = 2_000_000
"""Tests and hits for all entries of one declaration: about a second."""
_FOLD = str.maketrans("123456789", "000000000")
_MOST_HINTS = 1000
_DIGIT = re.compile(r"\d", re.ASCII)
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])", re.ASCII)
_COUNTS = re.compile(r"\\[dDwWsS](?![*+])|[?{\[]|(?<!\w)\.(?![*+])|\.(?![*+\w]|$)")
"""What in an expression may tell a number of one digit from one of two: a single character that can be a digit."""
_PREFIXES = frozenset({"model", "language_model", "transformer", "base_model", "module"})
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
"""Layers that some loaders and some writers hold as one, and their parts."""
PART_OF = {part: name for name, parts in FUSED.items() for part in parts}


class Matched(NamedTuple):
    """The entries of a declaration, and the modules each one means."""

    entries: tuple[Entry, ...]
    modules: tuple[tuple[str, ...], ...]
    """For every entry the modules that it names to a loader."""
    hinted: tuple[tuple[str, ...], ...]
    """For every entry that names nothing what it would name with another prefix, fused, or from the middle."""
    doubt: str = ""
    """Why not all entries could be matched, "" if they were."""

    def of(self, effect: str) -> dict[str, Entry]:
        """Return module → the first entry of this effect that names it."""
        found: dict[str, Entry] = {}
        for entry, modules in zip(self.entries, self.modules, strict=True):
            if entry.effect == effect:
                for module in modules:
                    found.setdefault(module, entry)
        return found


def matched(view: View, declared: Declared, keys: Keys) -> Matched:
    """Match every entry of ``declared`` against the modules of ``view`` (once per view); ``keys`` as in `entries`."""
    key = f"skips {declared.file}{declared.pointer}"
    found = view.memo.get(key)
    if not isinstance(found, Matched):
        found = view.memo[key] = _matched(view, entries(declared, keys))
    return found


def _matched(view: View, rows: tuple[Entry, ...]) -> Matched:
    if not rows:
        return Matched((), (), ())
    names = Names(view.signatures)
    modules: list[tuple[str, ...]] = []
    hinted: list[tuple[str, ...]] = []
    try:
        for entry in rows:
            modules.append(tuple(names.named(entry)))
            hinted.append(() if modules[-1] else tuple(islice(names.hints_at(entry), _MOST_HINTS)))
    except UnsafeRegex:
        doubt = "an expression in the quantisation config costs too much"
    except (re.error, RecursionError, OverflowError):
        doubt = "an expression in the quantisation config cannot be compiled"
    else:
        return Matched(rows, tuple(modules), tuple(hinted))
    return Matched(rows, ((),) * len(rows), ((),) * len(rows), doubt)


class Names:
    """The names of all modules, by template and, once somebody asks, folded by their digits."""

    def __init__(self, signatures: Iterable[Signature]) -> None:
        self._by_template: dict[str, list[str]] = {}
        for signature in signatures:
            name = signature.template.replace("*", "0")
            known = self._by_template.get(name)
            self._by_template[name] = [*known, *signature.modules] if known else signature.modules
        self._folded: dict[str, list[str]] = {}
        self._coarse: dict[tuple[str, str], list[str]] = {}
        self._all: frozenset[str] | None = None
        self._left = MAX_STEPS

    def named(self, entry: Entry) -> Iterator[str]:
        """Yield the modules that ``entry`` names in its own dialect."""
        text = entry.text
        if self._is_exact(entry):
            self._spend(1)
            if text in self._known():
                yield text
            return
        yield from self._search(text, _TESTS[entry.dialect], expression=_is_expression(entry))

    def hints_at(self, entry: Entry) -> Iterator[str]:
        """Yield the modules that ``entry`` names under some other spelling."""
        if _is_expression(entry):
            yield from self._search(entry.text, loose_expression, expression=True)
        else:
            for text in _spellings(entry.text):
                yield from self._search(text, loose_name, expression=False)

    def _search(self, text: str, test_of: Callable[[str], Test], *, expression: bool) -> Iterator[str]:
        self._spend(_PER_ENTRY)
        digits = _DIGIT.search(text) is not None
        test = test_of(text) if digits else None
        names: Mapping[str, list[str]] = self._by_template
        if expression and (digits or _COUNTS.search(text.replace(r"\.", "_"))):
            names = self._fold()
        chosen = names if digits and expression else self._chosen(_NUMBER.sub("0", text), test_of, names)
        for name in chosen:
            self._spend(len(names[name]))
            yield from names[name] if test is None else filter(test, names[name])

    def _chosen(self, text: str, test_of: Callable[[str], Test], names: Mapping[str, list[str]]) -> list[str]:
        """Return the names that ``text`` may mean; a long list, folded, has few texts."""
        key = (text, test_of.__name__)
        if key not in self._coarse:
            self._spend(len(names))
            self._coarse[key] = list(filter(test_of(text), names))
        return self._coarse[key]

    def _fold(self) -> Mapping[str, list[str]]:
        if not self._folded:
            for modules in self._by_template.values():
                for module in modules:
                    self._folded.setdefault(module.translate(_FOLD), []).append(module)
        return self._folded

    def _is_exact(self, entry: Entry) -> bool:
        """Whether the entry can name nothing but the one module that is called so."""
        plain = entry.dialect == "exact" and not entry.text.startswith("re:")
        return plain or entry.dialect == "by-name"

    def _known(self) -> frozenset[str]:
        if self._all is None:
            self._all = frozenset(chain.from_iterable(self._by_template.values()))
        return self._all

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise UnsafeRegex("too many entries")


def _names(text: str) -> Test:
    return text.__eq__


def _exact(text: str) -> Test:
    return _from_start(text[3:]) if text.startswith("re:") else text.__eq__


def _inside(text: str) -> Test:
    return lambda name: text in name


def _component(text: str) -> Test:
    """A part of a path, or a wildcard. vLLM takes any part of a name; ``gate`` is not meant for ``gate_proj``."""
    if "*" in text:
        return _wildcard(text).fullmatch
    return lambda name: f".{text}." in f".{name}."


def _as_transformers(text: str) -> Test:
    """A name from its start to a dot, its end, or an expression: ``should_convert_module`` of transformers 5."""
    inside = f"{text}."
    if re.fullmatch(r"[\w.\-]*", text):
        return lambda name: name == text or name.startswith(inside) or f".{inside}" in f"{name}."
    try:
        return Expression(text, boundary=True).match
    except re.error:  # transformers raises; a wildcard is what was meant
        return _wildcard(text).fullmatch


def _wildcard(text: str) -> Expression:
    """Compile a ModelOpt wildcard; one at the very end stands for what is below, as vLLM reads it."""
    tail = ""
    if text.endswith("*") and not text.endswith((".*", "**")):
        text, tail = text[:-1], r"(?:\..*)?"
    return Expression(re.escape(text).replace(r"\*", ".*").replace(r"\?", ".") + tail)


def _from_start(pattern: str) -> Test:
    return Expression(pattern).match


def _is_expression(entry: Entry) -> bool:
    if entry.dialect == "from-start" or entry.text.startswith("re:"):
        return True
    return "*" in entry.text or (
        entry.dialect == "transformers" and not re.fullmatch(r"[\w.\-]*", entry.text)
    )


def loose_name(text: str) -> Test:
    """Return the test whether a path goes through the components of ``text`` anywhere."""
    parts = text.removesuffix(".weight").split(".")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        del parts[0]
    inside = f".{'.'.join(parts)}."
    return lambda name: inside in f".{name}."


def loose_expression(text: str) -> Test:
    """Return the test whether an expression or a wildcard matches anywhere in a name."""
    pattern = text.removeprefix("re:").removeprefix("^")
    if "*" in pattern and not re.search(r"[\\()\[\]|$+]|\.\*", pattern):
        pattern = re.escape(pattern).replace(r"\*", ".*")
    wild = Expression(pattern)
    return lambda name: wild.search(name) or wild.search(f"model.{name}")


def _spellings(text: str) -> tuple[str, ...]:
    """Return a name, and what it is called fused or taken apart."""
    parent, dot, last = text.rpartition(".")
    others = (*FUSED.get(last, ()), *((PART_OF[last],) if last in PART_OF else ()))
    return (text, *(f"{parent}{dot}{other}" for other in others))


_TESTS: Mapping[Dialect, Callable[[str], Test]] = {
    "transformers": _as_transformers,
    "exact": _exact,
    "component": _component,
    "inside": _inside,
    "from-start": _from_start,
    "by-name": _names,
}
"""Dialect → the test that its loaders apply to a name."""
