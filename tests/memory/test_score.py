"""The README's figures are those of the records."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.memory import score


def test_the_readme_has_the_table() -> None:
    shown = re.search(
        r"<!-- memory -->\n(.*?)\n?<!-- /memory -->", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert shown
    assert shown[1] == score.table()
