"""Which repairs are offered: one for every fixed example, and none for what a loader reads right."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib import import_module

import pytest

from ckptdoctor.model import Report, Target
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, default_targets, parse_target

from ..observe.cases import sound_names
from ..observe.paths import OBSERVED, SOUND
from ..observe.score import target_of
from ..support import cards
from ..support.corpus_source import CorpusSource, Row, rows

REPAIRED = [rule for rule in cards.book().cards if "edits" in cards.book().card(rule).get("fix", {})]


@pytest.mark.parametrize("rule", REPAIRED)
def test_a_repair_has_a_fixed_example(rule: str) -> None:
    """Examples that lack ``fixed`` must be offered no edits and the others must be: see ``cards.problems``."""
    module, name = cards.book().card(rule)["fix"]["edits"].split(".")
    assert callable(getattr(import_module(f"ckptdoctor.repairs.{module}"), name))
    assert [example for example in cards.examples(rule) if example.kind == "fixed"]


def content_targets() -> dict[str, list[Target]]:
    """Return the targets that were observed to read a sound fixture right, by fixture."""
    found: dict[str, list[Target]] = defaultdict(list)
    for path in sorted(OBSERVED.glob("*.jsonl")):
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if record["outcome"] == "ok":
                found[record["case"]].append(parse_target(target_of(record)))
    return found


CONTENT = content_targets()


@pytest.mark.parametrize("name", sound_names())
def test_nothing_is_offered_for_what_is_read_right(name: str) -> None:
    report = check_source(open_source(str(SOUND / name)), CONTENT[name])
    assert offered(report) == []


ROWS = [row for row in rows() if row.kind.startswith(("real model metadata", "real fine-tune adapter"))]


@pytest.mark.skipif(not ROWS, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_nothing_is_offered_for_a_real_model(row: Row) -> None:
    report = check_source(CorpusSource(row.path), default_targets(), metadata_only=True)
    assert offered(report) == []


def offered(report: Report) -> list[str]:
    assert not report.crashes
    return [f"{f.rule}: {f.fix.title}" for f in report.findings if f.fix is not None and f.fix.edits]
