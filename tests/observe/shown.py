"""Which outcome of which rule a recorded run has shown: ``python -m tests.observe.shown`` writes rules/observed.yaml.

A run shows a rule's outcome when the loader did with a recorded case what our own finding about that case says. In a
card with rows, the row that decides for the finding's facts is shown; where the check computes the outcome, the card.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

from ckptdoctor import ruledata
from ckptdoctor.model import Finding, LoaderOutcome, Target
from ckptdoctor.ruledata import Card, parse_version
from tests.observe.paths import ROOT
from tests.observe.score import Judged, judged, ran_with, target_of
from tests.support.shipped import parse_target

FILE = ROOT / "rules" / "observed.yaml"
HEADER = """\
# Which outcome of which rule a run in fixtures/observed has shown, written by python -m tests.observe.shown.
# rule: {loader: {row of the card's outcomes, or computed: [versions]}}
"""
Shown = dict[str, dict[str, dict[str, list[str]]]]
"""Rule → loader (as its card names it) → ``computed`` or number of a row, from 1 → versions, oldest first."""


def table(cases: Iterable[Judged]) -> Shown:
    """Return what the records of judged cases show."""
    cards = {card.id: card for card in ruledata.load().cards}
    found: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for finding, outcome in _confirmed(cases):
        card = cards[finding.rule]
        place = _place(card, outcome.target, finding)
        if place is not None:
            found[card.id][place[0]][place[1]].add(outcome.target.version)
    return {
        rule: {
            loader: {row: sorted(rows[row], key=parse_version) for row in sorted(rows)}
            for loader, rows in sorted(loaders.items())
        }
        for rule, loaders in sorted(found.items())
    }


def _place(card: Card, target: Target, finding: Finding) -> tuple[str, str] | None:
    """Return loader and row (or ``computed``) of the card that give its outcome in ``target``."""
    loader = target.loader if target.loader in card.outcomes else "any"
    rows = card.outcomes.get(loader, "computed" if card.check == "loader.events" else ())
    if isinstance(rows, str):
        return target.loader, rows
    row = ruledata.first_row(rows, target.version, finding.facts)
    return None if row is None else (loader, str(rows.index(row) + 1))


def _confirmed(cases: Iterable[Judged]) -> Iterator[tuple[Finding, LoaderOutcome]]:
    """Yield every finding with each of its outcomes that the loader showed."""
    for case, records, report, alone in cases:
        did = {
            parse_target(ran_with(target_of(record), record)).label: case.outcome(record["outcome"])
            for record in records
        }
        # An adapter's findings are others where its base is not at hand, and as true.
        for finding in (*report.every_finding, *(() if alone is report else alone.every_finding)):
            for outcome in finding.outcomes:
                if outcome.outcome == did[outcome.target.label] != "ok":
                    yield finding, outcome


def text(shown: Shown) -> str:
    """Return the file's content: a rule, and below it a line a loader."""
    lines = [HEADER]
    for rule, loaders in shown.items():
        lines.append(f"{rule}:\n")
        lines += [f"  {loader}: {json.dumps(rows)}\n" for loader, rows in loaders.items()]
    return "".join(lines)


def main() -> None:
    """Write the file."""
    FILE.write_text(text(table(judged())), encoding="utf-8")


if __name__ == "__main__":
    main()
