"""What a release changes: what we say before and after its intake, and what the loader does by the records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.observe.paths import OBSERVED, ROOT


def said(target: str, into: Path) -> Path:
    """Write what the tree as it is says for one target of every checkpoint at hand; a process reads the rules anew."""
    command = [sys.executable, "-m", "tests.agreement.verdicts", str(into), target]
    subprocess.run(command, check=True, cwd=ROOT)
    return into


def differences(before: Path, after: Path) -> list[str]:
    """Return a line for every place where two such files differ."""
    from tests.agreement import verdicts  # what it imports loads the rulebook, which the intake changes

    old, new = verdicts.read(str(before)), verdicts.read(str(after))
    return [
        f"{name}{text}"
        for name in sorted(old | new)
        for text in verdicts.differences(old.get(name), new.get(name))
    ]


def recorded(loader: str, version: str) -> dict[str, str]:
    """Return case → what the loader did, nothing for a version that was not run."""
    path = OBSERVED / f"{loader}-{version}.jsonl"
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
    return {row["case"]: row["outcome"] for row in rows}


def newest_recorded(loader: str, but: str) -> str:
    """Return the newest version of a loader with records, ``but`` left out; "" when there is none."""
    from ckptdoctor.ruledata import parse_version

    versions = {path.stem.removeprefix(f"{loader}-") for path in OBSERVED.glob(f"{loader}-*.jsonl")} - {but}
    return max(versions, key=parse_version, default="")


def done_otherwise(loader: str, since: str, version: str) -> tuple[int, list[str]]:
    """Return how many cases were run in both versions, and a line for each that came out otherwise."""
    old, new = recorded(loader, since), recorded(loader, version)
    both = [case for case in new if case in old]
    return len(both), [f"{case}: {old[case]} → {new[case]}" for case in both if old[case] != new[case]]


def agreement(loader: str, version: str) -> tuple[Counter[str], list[str]]:
    """Return how often our verdict is what was recorded of a version, and a line for each that is not."""
    from tests.observe import score

    found = [t for t in score.triples() if t.target.partition(",")[0] == f"{loader}=={version}"]
    words = Counter("abstained" if t.abstained else "agree" if t.agrees else "differ" for t in found)
    wrong = [
        f"{t.case}: did {t.observed}, we say {t.verdict.outcome}"
        for t in found
        if not t.agrees and not t.abstained
    ]
    return words, wrong
