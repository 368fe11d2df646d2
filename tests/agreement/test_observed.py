"""``observed`` in a card is a claim about a real run: a committed record must show that very outcome for that rule."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ckptdoctor import ruledata
from ckptdoctor.engine import check_source
from ckptdoctor.sources import open_source
from ckptdoctor.targets import parse_target

from ..conftest import ROOT
from ..observe.cases import adapter_base, load_cases, materialise
from ..observe.paths import SOUND
from ..observe.versions import FORMATS, PACKED, read

OBSERVED = ROOT / "fixtures" / "observed"


class Claim(NamedTuple):
    """A card says that a record shows this."""

    rule: str
    loader: str
    version: str
    outcomes: frozenset[str]
    """Outcomes the card's rows for that version may give; empty: whatever the check computes."""


def claims() -> Iterator[Claim]:
    """Yield every claim of every card."""
    for card in ruledata.load().cards:
        for loader, rows in card.outcomes.items():
            for row in rows if isinstance(rows, tuple) else ():
                for version in row.observed:
                    yield Claim(card.id, loader, version, frozenset([row.outcome]))
        for loader, versions in card.observed.items():
            for version in versions:
                yield Claim(card.id, loader, version, frozenset())


@cache
def shown(loader: str, version: str, into: Path) -> dict[str, set[str]]:
    """Return rule → outcomes for which a record of that loader and the rule's own finding agree."""
    path = OBSERVED / f"{loader}-{version}.jsonl"
    cases = {case.id: case for case in load_cases()}
    agreed: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        case = cases.get(record["case"])
        if case is None or record["outcome"] in ("ok", "env"):
            continue
        target = parse_target(f"{loader}=={version}")
        packages = {name: record["versions"][name] for name in target.versions if name in record["versions"]}
        target = target._replace(versions=packages, options=record["options"])
        directory = materialise(case, into / loader / version / case.id)
        base = adapter_base(case)
        # an adapter's findings are others where its base is not at hand, and as true
        for held in {None, base}:
            onto = None if held is None else open_source(held)
            for finding in check_source(open_source(str(directory)), [target], base=onto).findings:
                agreed[finding.rule] |= {
                    outcome.outcome for outcome in finding.outcomes if outcome.outcome == record["outcome"]
                }
    return agreed


@pytest.mark.parametrize(
    "claim", list(claims()), ids=lambda claim: f"{claim.rule}-{claim.loader}-{claim.version}"
)
def test_observed_has_a_record(claim: Claim, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = OBSERVED / f"{claim.loader}-{claim.version}.jsonl"
    assert path.exists(), f"no record: {path.relative_to(ROOT)}"
    outcomes = shown(claim.loader, claim.version, tmp_path_factory.getbasetemp() / "observed")[claim.rule]
    assert outcomes & claim.outcomes if claim.outcomes else outcomes, (
        f"no case in {path.name} has this finding with the outcome that was observed; shown: {sorted(outcomes)}"
    )


@pytest.mark.parametrize(
    "record", read(FORMATS), ids=lambda record: " ".join(map("-".join, record["installed"].items()))
)
def test_the_library_that_reads_packed_zero_points_decides(record: dict[str, Any]) -> None:
    """compressed-tensors beside transformers: recorded by tests/observe/versions.py, judged as that pair."""
    packages = ",".join(
        f"{name}=={record['installed'][name]}" for name in ("transformers", "compressed-tensors")
    )
    source = open_source(str(SOUND / PACKED["compressed-tensors"]))
    [verdict] = check_source(source, [parse_target(packages)]).verdicts
    assert verdict.outcome == ("ok" if record["raised"] is None else "fails")
