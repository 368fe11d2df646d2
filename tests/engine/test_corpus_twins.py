"""Real names under a real config.json, with the shapes that follow: complete checkpoints load everywhere."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.support.corpus_source import Row, rows
from tests.support.corpus_twin import twin
from tests.support.shipped import check_source, parse_target

ROWS = [row for row in rows() if row.kind.startswith("real model metadata")]
TARGETS = (
    "transformers==5.23.0",
    "transformers==4.57.6",
    "vllm==0.32.0,vllm-bnb-plugin==0.0.3",
    "unsloth==2026.10.9",
)
NOT_ALIKE = {
    "config/model-type-unknown": "a transformers older than the architecture",
    "config/adapter-config-alone": "the row has an adapter_config.json without an adapter",
    "config/adapter-without-weights": "the row has an adapter_config.json without an adapter",
}
"""Rules that tell the truth about a twin."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_a_complete_twin_loads(row: Row) -> None:
    source = twin(row)
    if source is None:
        pytest.skip("the shapes of this row do not follow from its config.json")
    report = check_source(source, [parse_target(target) for target in TARGETS])
    assert not report.crashes
    alarms = [f for f in report.findings if f.severity in ("error", "warning") and f.rule not in NOT_ALIKE]
    assert [f"{f.rule}: {f.message}" for f in alarms] == []
    for verdict in report.verdicts:
        assert verdict.outcome in ("ok", "unknown") or NOT_ALIKE.keys() & set(verdict.because), verdict
        assert verdict.outcome != "unknown" or verdict.reason


@pytest.mark.skipif(not ROWS, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")
def test_there_are_such_twins() -> None:
    assert len(list(islice(filter(None, map(twin, ROWS)), 20))) == 20
