"""Real checkpoints with the names of another one, or with a part gone: whatever is said of them, it is not ok."""

from __future__ import annotations

import pytest

from tests.support.corpus_source import rows
from tests.support.sabotage import SABOTAGES, Sabotaged
from tests.support.shipped import check_source, parse_target

TARGETS = [parse_target(text) for text in ("transformers", "vllm")]
ROWS = rows()
needs_corpus = pytest.mark.skipif(not ROWS, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")


@needs_corpus
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_sabotaged_row_is_never_ok(sabotage: str) -> None:
    passed: list[str] = []
    tried = 0
    for row in ROWS:
        source = Sabotaged(row, SABOTAGES[sabotage])
        if source.changed and "config.json" in source.entries():
            tried += 1
            report = check_source(source, TARGETS, metadata_only=True)
            passed += [f"{row.slug} {v.target.loader}" for v in report.verdicts if v.outcome == "ok"]
    assert tried > 60
    assert passed == []
