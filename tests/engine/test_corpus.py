"""Real metadata that nobody here wrote: no alarm on a sound row, a clear finding on a broken one."""

from __future__ import annotations

from collections import Counter

import pytest

from ckptdoctor.model import Report
from tests.support.corpus_source import CorpusSource, Row, rows
from tests.support.shipped import check_source, default_targets

ROWS = rows()
SOUND = ("real model metadata", "real fine-tune adapter", "real small model")
NAMES_IN = (".safetensors.index.json", ".safetensors")
SHARE = 0.55
needs_corpus = pytest.mark.skipif(not ROWS, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")


def check(row: Row) -> Report:
    return check_source(CorpusSource(row.path), default_targets(), metadata_only=True)


def is_sound(row: Row) -> bool:
    return row.kind.startswith(SOUND)


@needs_corpus
@pytest.mark.parametrize("row", [row for row in ROWS if is_sound(row)], ids=lambda row: row.slug)
def test_no_alarm_on_a_sound_row(row: Row) -> None:
    report = check(row)
    assert not report.crashes
    assert [f"{f.rule}: {f.message}" for f in report.findings if f.severity == "error"] == []


@needs_corpus
@pytest.mark.parametrize("row", [row for row in ROWS if "broken" in row.kind], ids=lambda row: row.slug)
def test_a_broken_row_gets_a_finding(row: Row) -> None:
    report = check(row)
    assert not report.crashes
    assert [f for f in report.findings if f.severity in ("error", "warning")] or report.nothing


@needs_corpus
def test_warnings_on_sound_rows_are_rare() -> None:
    warned: Counter[str] = Counter()
    sound = [row for row in ROWS if is_sound(row)]
    for row in sound:
        warned.update(f.rule for f in check(row).findings if f.severity == "warning")
    assert sum(warned.values()) <= len(sound), warned.most_common()


@needs_corpus
def test_most_verdicts_rest_on_compared_names() -> None:
    """Of rows with weights or an index, in transformers and vLLM; the others say why not."""
    compared: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in ROWS:
        names = CorpusSource(row.path).entries()
        if not row.kind.startswith("real model metadata") or not any(
            name.endswith(NAMES_IN) for name in names
        ):
            continue
        for verdict in check(row).verdicts:
            part = verdict.compared["names"]
            compared[part.state] += 1
            reasons[part.reason] += part.state == "no"
            assert part.state == "yes" or part.reason, row.slug
    assert compared["yes"] >= SHARE * compared.total(), reasons.most_common(20)
