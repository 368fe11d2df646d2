"""Cards and their rows, as a run sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..model import Outcome, Severity
from .versions import Spec, holds, parse_version


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
    user's own: severity is the card's, loaders do not come into it)."""
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


def first_row(rows: Sequence[Row] | str | None, version: str, facts: Mapping[str, object]) -> Row | None:
    """Return the first row that names ``version`` and whose ``when`` agrees with ``facts``."""
    if rows is None or isinstance(rows, str):
        return None
    number = parse_version(version) if version else ()
    for row in rows:
        if holds(row.versions, number) and all(facts.get(key) == value for key, value in row.when.items()):
            return row
    return None


def card_from(data: Mapping[str, Any]) -> Card:
    """Return a card as ``hot.json`` holds it."""
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
