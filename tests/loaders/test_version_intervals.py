"""The loader models next to the bounds of their intervals, and what ``--for`` fills in."""

from __future__ import annotations

import pytest

from ckptdoctor import ruledata
from tests.support.shipped import check_source, parse_target

from ..support import intervals


@pytest.mark.parametrize("entry", intervals.entries(), ids=lambda entry: entry.case.id)
def test_verdicts(entry: intervals.Entry) -> None:
    report = check_source(intervals.held(entry.case), [parse_target(text) for text in entry.verdicts])
    said = dict(zip(entry.verdicts, [verdict.outcome for verdict in report.verdicts], strict=True))
    assert said == dict(entry.verdicts)


def test_targets() -> None:
    assert intervals.misread(ruledata.load()) == []
