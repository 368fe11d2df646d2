"""How far the verdicts agree with what the real loaders did: ``python -m tests.observe.score``.

Every record in ``fixtures/observed`` is one (checkpoint, loader, version) triple that a real loader was given. The same
checkpoint is made again, checked, and the outcome words are compared. Exit 1 when agreement is below the bar.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from ckptdoctor.model import OUTCOMES, Report, Verdict
from ckptdoctor.sources import open_source
from tests.observe.cases import Case, adapter_base, load_cases, made
from tests.observe.paths import OBSERVED
from tests.support.shipped import check_source, parse_target

BAR = 0.98
SILENT = ("corrupt", "wrong-precision")


class Triple(NamedTuple):
    """One observation beside what was said of it."""

    case: str
    target: str
    observed: str
    verdict: Verdict
    exception: str | None = None
    """What the loader raised, as a traceback ends: class and text."""
    causes: tuple[str, ...] = ()
    """The rules that the verdict is because of, and those that tell what follows from them."""

    @property
    def abstained(self) -> bool:
        """Whether we gave no verdict, and said why."""
        return self.verdict.outcome == "unknown"

    @property
    def agrees(self) -> bool:
        """Whether the words are the same."""
        return self.observed == self.verdict.outcome


class Judged(NamedTuple):
    """A recorded case, made again and checked for exactly the targets that it was recorded with."""

    case: Case
    records: list[dict[str, Any]]
    report: Report
    alone: Report
    """Of an adapter without its base; else the same report."""


@cache
def judged() -> list[Judged]:
    """Return every recorded case that still exists, less the runs that only this CPU spoils. Judged once a process."""
    records: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(OBSERVED.glob("*.jsonl")):
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if record["outcome"] != "env":
                records.setdefault(record["case"], []).append(record)
    return [judge(case, records[case.id]) for case in load_cases() if case.id in records]


def judge(case: Case, records: list[dict[str, Any]]) -> Judged:
    """Check the checkpoint of ``case`` for the targets of ``records``."""
    targets = [parse_target(ran_with(target_of(record), record)) for record in records]
    base = adapter_base(case)
    with made(case) as path:
        alone = check_source(open_source(path), targets)
        report = alone if base is None else check_source(open_source(path), targets, base=open_source(base))
    return Judged(case, records, report, alone)


def triples() -> Iterator[Triple]:
    """Yield every recorded observation beside our verdict."""
    for case, records, report, _ in judged():
        for record, verdict in zip(records, report.verdicts, strict=True):
            outcome = case.outcome(str(record["outcome"]))
            raised = _raised(record["exception"])
            yield Triple(
                case.id, target_of(record), outcome, verdict, raised, _causes(report, verdict.because)
            )


def _causes(report: Report, because: Sequence[str]) -> tuple[str, ...]:
    follow = {item.rule for f in report.findings if f.rule in because for item in f.consequences}
    return (*because, *sorted(follow.difference(because)))


def _raised(exception: object) -> str | None:
    if not isinstance(exception, dict):
        return None
    above = [exception["above"]] if "above" in exception else []
    return "\n".join([*above, f"{exception['type']}: {exception['text']}"])


def target_of(record: dict[str, object]) -> str:
    """Return the ``--for`` text of a record: the loader and the plug-ins that decide."""
    versions = record["versions"]
    assert isinstance(versions, dict)
    loader = str(record["loader"])
    names = [loader, *(name for name in versions if name == "vllm-bnb-plugin")]
    return ",".join(f"{name}=={str(versions[name]).partition('+')[0]}" for name in names)


def ran_with(name: str, record: dict[str, object]) -> str:
    """Add to a target what decides in transformers only for one format: the library that reads it."""
    versions = record["versions"]
    assert isinstance(versions, dict)
    library = "compressed-tensors"
    return (
        f"{name},{library}=={versions[library]}"
        if name.startswith("transformers") and library in versions
        else name
    )


def markdown(found: list[Triple]) -> str:
    """Return the README's table: per target what was recorded, judged, agreed, missed and alarmed."""
    rows = [
        "| loader | recorded runs | judged | agree | silent harm missed | false alarms |",
        "|---|---|---|---|---|---|",
    ]
    for target in sorted({triple.target for triple in found}):
        mine = [triple for triple in found if triple.target == target]
        judged = [triple for triple in mine if not triple.abstained]
        agreed = sum(triple.agrees for triple in judged)
        missed = sum(triple.verdict.outcome == "ok" and triple.observed in SILENT for triple in judged)
        alarms = sum(triple.observed == "ok" and not triple.agrees for triple in judged)
        share = f"{agreed / len(judged):.1%}"
        rows.append(f"| {target} | {len(mine)} | {len(judged)} | {share} | {missed} | {alarms} |")
    return "\n".join(rows)


def _table(target: str, mine: list[Triple]) -> float:
    """Print the confusion table of one loader and version, and return the share of the judged that agree."""
    judged = [triple for triple in mine if not triple.abstained]
    agreed = sum(triple.agrees for triple in judged)
    share = agreed / max(1, len(judged))
    print(
        f"\n{target}: {agreed} of {len(judged)} agree ({share:.1%}), {len(mine) - len(judged)} abstained from"
    )
    table = Counter((triple.observed, triple.verdict.outcome) for triple in mine)
    print("  observed \\ said " + " ".join(f"{word:>15}" for word in OUTCOMES))
    for observed in OUTCOMES:
        row = [table[observed, said] for said in OUTCOMES]
        if any(row):
            print(f"  {observed:<15} " + " ".join(f"{number or '·':>15}" for number in row))
    return share


def _mark(triple: Triple) -> str:
    """Return what kind of disagreement this is."""
    if triple.verdict.outcome == "ok" and triple.observed in SILENT:
        return "MISSED SILENT"
    if triple.observed == "ok" and triple.verdict.outcome != "unknown":
        return "FALSE ALARM"
    return "abstained" if triple.abstained else "differs"


def main() -> int:
    """Print the confusion table per loader and version and every disagreement; return the exit status."""
    found = list(triples())
    passed = bool(found)
    for target in sorted({triple.target for triple in found}):
        share = _table(target, [triple for triple in found if triple.target == target])
        passed = passed and share >= BAR
    print()
    for triple in found:
        if not triple.agrees:
            print(
                f"{_mark(triple)}: {triple.case} [{triple.target}] observed {triple.observed}, said "
                f"{triple.verdict.outcome} because "
                f"{', '.join(triple.verdict.because) or triple.verdict.reason or 'nothing was found'}"
            )
    silent = sum(triple.observed in SILENT for triple in found)
    print(f"\n{len(found)} triples, {silent} silent, {sum(t.observed == 'ok' for t in found)} harmless")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
