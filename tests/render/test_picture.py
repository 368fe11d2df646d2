"""The picture in the README: a real run, drawn by rich, kept fresh (`pytest --update` draws it again)."""

from __future__ import annotations

import html
import io
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from ckptdoctor import check
from ckptdoctor.render import Page, render
from tests.support.shipped import RULEBOOK

from ..conftest import ROOT

PICTURE = ROOT / "docs" / "check.svg"
COLUMNS = 92
TARGETS = (
    "transformers==5.23.0",
    "vllm==0.32.0,vllm-bnb-plugin==0.0.3",
    "unsloth==2025.3.10,unsloth_zoo==2025.3.9,vllm==0.7.3",
)


def draw() -> str:
    """Return the page for a 4-bit checkpoint in a directory called `model`, as an SVG without web fonts."""
    # The number of rules would make every new rule redraw it.
    report = check("model", targets=TARGETS)._replace(rules_run=0)
    page = render("text", [report], Page(COLUMNS, color=True, prose=RULEBOOK.prose))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    typed = " \\\n".join(["$ ckptdoctor check model", *(f"    --for {target}" for target in TARGETS)])
    console.print(Text(typed + "\n", "bold"))
    console.print(Text.from_ansi(page))
    svg = console.export_svg(title="ckptdoctor", unique_id="ckptdoctor")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def words(svg: str) -> list[str]:
    """Return what can be read in a picture: how rich draws may change with its version."""
    rows = [
        html.unescape(text).replace("\xa0", " ").strip()
        for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    ]
    return [row for row in rows if row]


def test_the_picture_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: bool
) -> None:
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-nf4", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    fresh = draw()
    if update:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(fresh, encoding="utf-8")
    assert words(PICTURE.read_text(encoding="utf-8")) == words(fresh), "run pytest --update and look at it"
    assert "unsloth" in " ".join(words(fresh))
