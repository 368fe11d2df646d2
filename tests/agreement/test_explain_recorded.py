"""explain against what the real loaders raised, not against the texts of our own cards."""

from __future__ import annotations

import pytest

from tests.observe import explained, score

pytestmark = pytest.mark.xdist_group("recorded")  # judged once, by one worker


@pytest.fixture(scope="module")
def rows() -> list[explained.Explained]:
    return explained.explained(score.triples())


def test_recorded_exceptions_lead_to_their_cause_first(rows: list[explained.Explained]) -> None:
    got = explained.shares(rows)
    misses = [explained.describe(row) for row in rows if row.because and not row.right]
    assert got.texts > 150
    assert got.texts_right >= explained.BAR * got.texts, misses
    assert got.runs_right >= explained.BAR * got.runs_possible, misses


def test_runs_are_counted_by_their_own_cause_and_texts_by_any() -> None:
    text = "size mismatch for model.layers.{}.mlp.up_proj.weight"
    rows = [
        explained.Explained("one", "t", text.format(0), ("a/b",), ("a/b", "c/d")),
        explained.Explained("two", "t", text.format(0), ("c/d",), ("a/b", "c/d")),
        explained.Explained("three", "t", text.format(7), ("c/d",), ("a/b", "c/d")),
        explained.Explained("four", "t", "no verdict", (), ("a/b",)),
        explained.Explained("five", "t", "nothing said", ("a/b",), ()),
    ]
    assert explained.shares(rows) == (2, 1, 4, 1, 3)
