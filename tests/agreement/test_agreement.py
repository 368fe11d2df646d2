"""Verdicts against every recorded run of a real loader: the bar, what must never happen, and the README's table."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.observe import score

README = ROOT / "README.md"
START, END = "<!-- agreement -->\n", "\n<!-- /agreement -->"

pytestmark = pytest.mark.xdist_group("recorded")  # judged once, by one worker


@pytest.fixture(scope="module")
def triples() -> list[score.Triple]:
    return list(score.triples())


def test_nothing_silent_is_called_ok(triples: list[score.Triple]) -> None:
    missed = [t for t in triples if t.verdict.outcome == "ok" and t.observed in score.SILENT]
    assert [(t.case, t.target, t.observed) for t in missed] == []


def test_no_alarm_where_the_loader_was_content(triples: list[score.Triple]) -> None:
    alarms = [t for t in triples if t.observed == "ok" and not t.agrees and not t.abstained]
    assert [(t.case, t.target, t.verdict.because) for t in alarms] == []


def test_each_loader_and_version_is_at_the_bar(triples: list[score.Triple]) -> None:
    for target in sorted({t.target for t in triples}):
        judged = [t for t in triples if t.target == target and not t.abstained]
        wrong = [(t.case, t.observed, t.verdict.outcome) for t in judged if not t.agrees]
        assert len(wrong) <= (1 - score.BAR) * len(judged), (target, wrong)


def test_there_is_enough_to_judge_by(triples: list[score.Triple]) -> None:
    assert len(triples) >= 300
    assert sum(t.observed in score.SILENT for t in triples) >= 80
    assert (
        len({t.case for t in triples if t.observed == "ok" and not t.case.startswith(("llama-", "qwen"))})
        >= 60
    )


def test_the_readme_table_is_fresh(triples: list[score.Triple], update: bool) -> None:
    text = README.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    assert start, "README.md lost the marker before the agreement table"
    assert end, "README.md lost the marker after the agreement table"
    fresh = before + START + score.markdown(triples) + END + after
    if update:
        README.write_text(fresh, encoding="utf-8")
    assert README.read_text(encoding="utf-8") == fresh, "run pytest --update and read the diff"
