"""``rules/observed.yaml``: what the cards claim of real runs is what the records and our own findings show together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import ruledata
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, parse_target

from ..observe import score, shown
from ..observe.paths import SOUND
from ..observe.versions import FORMATS, PACKED, read

pytestmark = pytest.mark.xdist_group("recorded")  # judged once, by one worker


def test_the_file_is_what_the_records_show(generated: Callable[[Path, str], None]) -> None:
    generated(shown.FILE, shown.text(shown.table(score.judged())))


def test_a_run_that_went_otherwise_shows_nothing() -> None:
    [case] = [one for one in score.judged() if one.case.id == "bnb4-dq-nested-absmax-missing"]
    [record] = [record for record in case.records if record["versions"].get("vllm") == "0.32.0"]
    for outcome, seen in ((record["outcome"], True), ("fails", False)):
        table = shown.table([score.judge(case.case, [{**record, "outcome": outcome}])])
        assert ("bnb/missing-companion" in table) is seen


def test_a_row_is_shown_by_the_facts_it_asks_for() -> None:
    """Of the rows of one loader, each has the versions whose records met its own facts."""
    card = next(card for card in ruledata.load().cards if card.id == "bnb/missing-companion")
    rows = card.outcomes["transformers"]
    assert isinstance(rows, tuple)
    five = [row.observed for row in rows if row.when.get("role") == "nested_absmax"]
    assert "5.23.0" in five[0]
    assert "4.57.6" not in five[0]
    assert "4.57.6" in rows[-1].observed


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
