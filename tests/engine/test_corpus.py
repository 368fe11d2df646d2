"""Real metadata that nobody here wrote: no alarm on a sound row, a clear finding on a broken one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ckptdoctor.model import Report
from tests.conftest import ROOT
from tests.support.corpus_source import CorpusSource, Row, rows
from tests.support.shipped import check_source, default_targets

ROWS = rows()
SOUND = ("real model metadata", "real fine-tune adapter", "real small model")
NAMES_IN = (".safetensors.index.json", ".safetensors")
SHARE = {"transformers": 0.65, "vllm": 0.6}
"""The least part of real models of which the names are compared; the rest say why not."""
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


@cache
def names_compared() -> dict[str, Counter[str]]:
    """How often names were compared, by loader, over real models with weights or an index; with the reasons why not."""
    found: dict[str, Counter[str]] = {}
    for row in ROWS:
        names = CorpusSource(row.path).entries()
        if not row.kind.startswith("real model metadata") or not any(
            name.endswith(NAMES_IN) for name in names
        ):
            continue
        for verdict in check(row).verdicts:
            part = verdict.compared["names"]
            assert part.state == "yes" or part.reason, row.slug
            counts = found.setdefault(verdict.target.loader, Counter())
            counts["models"] += 1
            counts["compared" if part.state == "yes" else part.reason] += 1
    return found


@needs_corpus
@pytest.mark.parametrize("loader", SHARE)
def test_most_verdicts_rest_on_compared_names(loader: str) -> None:
    counts = names_compared()[loader]
    assert counts["compared"] >= SHARE[loader] * counts["models"], counts.most_common(20)


@needs_corpus
def test_the_readme_has_the_share(generated: Callable[[Path, str], None]) -> None:
    counts = names_compared()
    text = "; ".join(
        f"{loader}: {counts[loader]['compared']} of {counts[loader]['models']}" for loader in SHARE
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    begin, end = "<!-- compared -->", "<!-- /compared -->"
    before, _, rest = readme.partition(begin)
    assert rest
    generated(ROOT / "README.md", f"{before}{begin}{text}{end}{rest.partition(end)[2]}")
