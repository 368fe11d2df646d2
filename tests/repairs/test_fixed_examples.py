"""Repairs applied: the finding goes, the rest stays as it is, and real loaders were seen to read the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ckptdoctor.fixing.journal import HOME
from ckptdoctor.fixing.undo import undo
from ckptdoctor.model import Report
from ckptdoctor.rulebook import recipe
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, parse_target

from ..observe.cases import Case, load_cases, materialise, sha256
from ..observe.mend import apply, meaning, mend, said
from ..observe.paths import OBSERVED, OBSERVED_FIXED
from ..observe.score import target_of
from ..support import cards

FIXED = [example for example in cards.all_examples() if example.kind == "fixed"]


def write(directory: Path, source: Any) -> str:
    """Write a recipe's files below ``directory``; files of which only the size is given are zeros."""
    for name, known in source.entries().items():
        path = directory / source.label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = source._files.get(name)
        path.write_bytes(bytes(known.size) if content is None else content[0 : known.size])
    return str(source.label)


def pruned(value: Any) -> Any:
    """Return ``value`` without keys that are null: the patch of a ``fixed`` example cannot write one."""
    if isinstance(value, dict):
        return {key: pruned(item) for key, item in value.items() if item is not None}
    return value


def verdicts(report: Report) -> dict[str, str]:
    return {verdict.target.label: verdict.outcome for verdict in report.verdicts}


@pytest.mark.parametrize("example", FIXED, ids=lambda example: example.id)
def test_the_repair_makes_the_fixed_example(
    example: cards.Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = cards.book().card(example.rule)["examples"]["bad"][example.place]
    safe = cards.book().card(example.rule)["fix"]["safety"] == "safe"
    targets = list(cards.targets(example).values())
    (tmp_path / "bad").mkdir()
    (tmp_path / "fixed").mkdir()
    monkeypatch.chdir(tmp_path / "bad")  # paths as typed are part of some examples
    label = write(tmp_path / "bad", recipe.build(bad))
    before = check_source(open_source(label), targets)
    shutil.copytree(Path(label), tmp_path / "plain" / label)
    digests = {path: sha256(path) for path in Path(label).rglob("*") if path.is_file()}
    mended = mend(Path(label), targets, [example.rule])
    assert set(mended.rules) == {example.rule}, mended.plan.rejected
    after = check_source(open_source(str(mended.directory)), targets)
    assert [finding for finding in after.findings if finding.rule == example.rule] == []
    wanted = tmp_path / "fixed" / write(tmp_path / "fixed", recipe.build(example.recipe))
    assert pruned(said(mended.directory)) == pruned(said(wanted))
    plain = tmp_path / "plain" / label
    for step in mended.plan.steps:
        assert step.finding.fix is not None
        plain = apply(plain, step.finding.fix.edits)
    assert said(plain) == said(mended.directory)
    undo(str(mended.directory))
    assert {
        path: sha256(path) for path in Path(label).rglob("*") if path.is_file() and HOME not in path.parts
    } == digests
    if safe:
        kept = {label for label, word in verdicts(before).items() if word == "ok"}
        assert {label for label, word in verdicts(after).items() if word == "ok"} >= kept


class Observed(NamedTuple):
    """What a real loader did with a case before and after its fixes."""

    case: Case
    target: str
    before: str
    after: dict[str, Any]


def observed() -> list[Observed]:
    cases = {case.id: case for case in load_cases()}
    found = []
    for path in sorted(OBSERVED_FIXED.glob("*.jsonl")):
        rows = [json.loads(line) for line in (OBSERVED / path.name).read_text(encoding="utf-8").splitlines()]
        before = {row["case"]: row["outcome"] for row in rows}
        found += [
            Observed(cases[after["case"]], target_of(after), before[after["case"]], after)
            for after in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        ]
    return found


OBSERVATIONS = observed()
NOT_CURED = {
    "bnb4-head-missing": "the head was lost, and the fix for an untied model that should be tied is unsafe for that",
    "bnb8-head-missing": "as above",
    "plain-head-missing": "as above",
    "ct-fp8-one-dense-module": "it loads, but the 16-bit values of this case are not those of the model",
}
"""Cases whose fix is a guess that is wrong for them: why such fixes are called unsafe."""


@pytest.mark.parametrize("row", OBSERVATIONS, ids=lambda row: f"{row.target}-{row.case.id}")
def test_what_was_observed_is_what_the_fixes_make(
    row: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a model type in the path would stand in for a missing one
    mended = mend(materialise(row.case, Path()), [parse_target(row.target)])
    assert mended.rules
    assert meaning(mended.directory) == row.after["sha"], (
        "fixes make another thing now: record it with --fixed"
    )


def test_loads_after_the_fix() -> None:
    for target, least in (("transformers==5.23.0", 50), ("vllm==0.32.0", 50)):
        rows = [row for row in OBSERVATIONS if row.target.startswith(target)]
        assert {row.before for row in rows} <= {"fails", "fails-late", "corrupt", "wrong-precision"}
        cured = [row for row in rows if row.after["outcome"] == "ok"]
        exact = [row for row in cured if row.after["max_abs_diff"] == 0.0]
        assert len(exact) >= least, (
            f"{target}: {len(cured)} load, {len(exact)} with the sound twin's very logits"
        )
        assert {row.case.id for row in rows if row.after["outcome"] not in ("ok", "env")} <= set(NOT_CURED)
