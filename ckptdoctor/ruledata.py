"""The compiled rulebook as plain data: cards, loader facts, schemes. Standard library only, read in one go.

A wheel carries the compiled files (``ckptdoctor/_rulebook``). A source tree or an editable install compiles
``../rules`` once into a per-user cache, keyed by what the folder listing says, and reads that afterwards.
"""

from __future__ import annotations

import importlib
import json
import operator
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

from .model import Outcome, Severity

Spec: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""``((">=", (0, 8, 5)), ("<", (0, 28)))``: all must hold; empty holds for every version."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGED = os.path.join(_HERE, "_rulebook")
_RULES = os.path.join(os.path.dirname(_HERE), "rules")
_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


class RulebookError(Exception):
    """A rule file that cannot be used: always the rule author's mistake, so it stops the run (exit 2)."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(file, line, message)
        self.file = file
        self.line = line
        self.message = message

    def __str__(self) -> str:
        """``rules/bnb/missing-companion.yaml:12: unknown key 'sumary'``."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class Row(NamedTuple):
    """What one loader does about a finding, for some versions and some facts."""

    versions: Spec
    when: Mapping[str, object]
    """Facts that must be equal for this row to count."""
    outcome: Outcome
    errors: tuple[str, ...]
    """Texts the loader raises, with ``{fact}`` placeholders."""
    observed: tuple[str, ...]
    """Versions for which a committed record of a real run shows this."""


class Card(NamedTuple):
    """The hot half of a rule card: what the engine needs to run it."""

    id: str
    kind: str
    """``defect`` (severity is the card's), ``reading`` (severity is the worst outcome's) or ``policy`` (a rule of the
    user's house: severity is the card's, loaders do not come into it)."""
    severity: Severity
    """For a ``reading`` card always ``note``: the engine derives the real one."""
    status: str
    """``stable`` or ``preview``."""
    check: str
    """``bnb.companions``: the function ``companions`` of ``ckptdoctor/checks/bnb.py``."""
    params: Mapping[str, object]
    message: str
    outcomes: Mapping[str, str | tuple[Row, ...]]
    """Loader → ``"computed"`` or rows in order; ``any`` stands for every loader not listed."""
    observed: Mapping[str, tuple[str, ...]]
    """Loader → observed versions, for computed outcomes."""
    fix: Mapping[str, str] = {}
    """``title``, ``safety`` and ``edits`` (a function of ``ckptdoctor/repairs``), or the ``command`` to type."""
    yields_to: tuple[str, ...] = ()
    """Rules; where one of them names the cause of the same module (or of all), this finding is left out and the cause
    takes over its outcomes."""
    decided_by: str = ""
    """``model``: the rows count only where no model of the loader has read the files; else its events decide."""
    foreign: bool = False
    """Whether it is about what a loader does not read at all: a target that nobody asked for is then ``unknown``."""


class Rulebook(NamedTuple):
    """Everything the default run path knows."""

    digest: str
    """Changes whenever the content of any rule file does."""
    cards: tuple[Card, ...]
    loaders: Mapping[str, Mapping[str, Any]]
    schemes: Mapping[str, Mapping[str, Any]]
    formats: Mapping[str, Any] = {}
    """What each quantisation format says, and what all of them say together (``ckptdoctor/formats/tables.py``)."""
    prose: Mapping[str, Mapping[str, Any]] = {}
    """Prose of cards that come from elsewhere (see ``cold``)."""


_VERSION = re.compile(
    r"\s*v?(?:\d+!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?P<pre>[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?"
    r"(?P<post>-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?"
    r"(?P<dev>[-_.]?dev[-_.]?\d*)?"
    r"(?:\+[a-z0-9._-]+)?\s*\Z",
    re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=4096)
def parse_version(text: str) -> tuple[int, ...]:
    """Return ``text`` as comparable numbers: ``0.8.5`` → (0, 8, 5), a pre-release sorts just below its release.

    ``rc``/``a``/``b``/``dev`` add a trailing -1 and ``post`` its number plus 1, both in the fifth place at least, so
    that 0.6.3.post1 lies between 0.6.3 and 0.6.3.1; a local part (``+cu124``) is dropped. Raises ValueError when
    ``text`` is not a PEP 440 version.
    """
    found = _VERSION.match(text)
    if found is None:
        raise ValueError(f"not a version: {text!r}")
    release = tuple(map(int, found["release"].split(".")))
    if found["pre"] or (found["dev"] and not found["post"]):
        return release + (0,) * (4 - len(release)) + (-1,)
    if found["post"]:
        return release + (0,) * (4 - len(release)) + (int(re.sub(r"\D", "", found["post"]) or 0) + 1,)
    return release


def matches(spec: Sequence[Sequence[Any]], version: str) -> bool:
    """Whether ``version`` satisfies every clause of ``spec``."""
    return holds(spec, parse_version(version))


def holds(spec: Sequence[Sequence[Any]], version: tuple[int, ...]) -> bool:
    """Whether a parsed version satisfies every clause of ``spec``; short versions count as padded with zeros."""
    for sign, bound in spec:
        width = max(len(version), len(bound))
        have = version + (0,) * (width - len(version))
        if not _COMPARE[sign](have, tuple(bound) + (0,) * (width - len(bound))):
            return False
    return True


def first_row(rows: Sequence[Row] | str | None, version: str, facts: Mapping[str, object]) -> Row | None:
    """Return the first row that names ``version`` and whose ``when`` agrees with ``facts``."""
    if rows is None or isinstance(rows, str):
        return None
    number = parse_version(version) if version else ()
    for row in rows:
        if holds(row.versions, number) and all(facts.get(key) == value for key, value in row.when.items()):
            return row
    return None


def load() -> Rulebook:
    """Return the rulebook in use. Raises RulebookError when a source tree's rules cannot be compiled."""
    return _override or _default()


@contextmanager
def using(rulebook: Rulebook) -> Iterator[None]:
    """Make ``load()`` return ``rulebook`` within the block."""
    global _override
    before, _override = _override, rulebook
    try:
        yield
    finally:
        _override = before


def cold(rule: str) -> Mapping[str, Any]:
    """Return the prose of a rule: summary, why, how_to_fix, since, references, errors, fixable, … .

    Raises KeyError when there is no such rule.
    """
    if _override is not None and rule in _override.prose:
        return _override.prose[rule]
    entry: Mapping[str, Any] = _read("cold.json")[rule]
    return entry


def card_schema() -> Mapping[str, Any]:
    """Return the JSON Schema that a rule card must meet."""
    schema: Mapping[str, Any] = _read("card.schema.json")
    return schema


def patterns() -> list[dict[str, Any]]:
    """Return all cards' error texts as ``{rule, text, loader, known, exception, regex, literal}``, for explain."""
    entries: list[dict[str, Any]] = _read("patterns.json")
    return entries


def environment() -> Mapping[str, Any]:
    """Return which versions of packages go together: packages, breaks, for_checkpoints, requirements."""
    data: Mapping[str, Any] = _read("environment.json")
    return data


def architecture(class_name: str) -> Mapping[str, Any] | None:
    """Return what is known of a model class such as ``LlamaForCausalLM``, None when nothing is."""
    # It comes from a hostile config.json and becomes a file name.
    if not class_name.isidentifier() or len(class_name) > 100:
        return None
    entry: Mapping[str, Any] | None = _read(f"architectures/{class_name}.json")
    return entry


def class_of(model_type: str) -> str:
    """Return the causal language model that ``model_type`` leads to, "" where it is not known."""
    found: str = _read("types.json").get(model_type, "")
    return found


def rulebook_from(hot: Mapping[str, Any]) -> Rulebook:
    """Return the rulebook held by the content of a ``hot.json``."""
    return Rulebook(
        hot["digest"], tuple(map(_card, hot["cards"])), hot["loaders"], hot["schemes"], hot["formats"]
    )


_override: Rulebook | None = None


@cache
def _default() -> Rulebook:
    return rulebook_from(_read("hot.json"))


def _card(data: Mapping[str, Any]) -> Card:
    outcomes = {
        loader: rows if isinstance(rows, str) else tuple(map(_row, rows))
        for loader, rows in data["outcomes"].items()
    }
    observed = {loader: tuple(versions) for loader, versions in data["observed"].items()}
    return Card(
        **{**data, "outcomes": outcomes, "observed": observed, "yields_to": tuple(data.get("yields_to", ()))}
    )


def _row(data: Sequence[Any]) -> Row:
    versions, when, outcome, errors, observed = data
    spec = tuple((sign, tuple(bound)) for sign, bound in versions)
    return Row(spec, when, outcome, tuple(errors), tuple(observed))


@cache
def _read(name: str) -> Any:
    folder = _folder()
    if isinstance(folder, dict):
        text = folder.get(name)
        return None if text is None else json.loads(text)
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


@cache
def _folder() -> str | dict[str, str]:
    """Return the folder of compiled files, or the files themselves when nowhere can be written."""
    if os.path.isfile(os.path.join(_PACKAGED, "hot.json")):
        return _PACKAGED
    if not os.path.isdir(_RULES):
        raise RulebookError(_RULES, None, "this installation has no rulebook; install ckptdoctor again")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    cache = os.path.join(home, "ckptdoctor", "rulebook")
    folder = os.path.join(cache, _listing_key())
    if os.path.isfile(os.path.join(folder, "hot.json")):
        return folder
    # By name, so that the compiler and its YAML parser are no part of the import graph of a run.
    compiler = importlib.import_module("ckptdoctor.rulebook.compile")
    files: dict[str, str] = compiler.compile_rules(_RULES)
    try:
        compiler.store(files, folder)
    except OSError:
        return files
    return folder


def _listing_key() -> str:
    """Digest of name, size and time of every rule file and of the compiler itself."""
    digest = sha256()
    for top in (_RULES, os.path.join(_HERE, "rulebook")):
        for entry in sorted(_walk(top), key=lambda entry: entry.path):
            stat = entry.stat()
            digest.update(f"{entry.path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _walk(top: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            elif entry.name.endswith((".yaml", ".json", ".py")):
                yield entry
