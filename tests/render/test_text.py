"""The page for people: snapshots at several widths, and what no page may ever do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.model import Location, Report
from ckptdoctor.render import Page, render
from ckptdoctor.render.layout import fold, size
from ckptdoctor.render.safe import clean, elide, width

from ..support import sample_reports as samples

SNAPSHOTS = Path(__file__).parent / "snapshots"
LONG = samples.sound()._replace(target="./models/" + "very-long-name-" * 6 + "bnb-4bit")
SEVERAL = (samples.sound(), samples.broken(), samples.unknown(), samples.nothing(), LONG)
PAGES: dict[str, tuple[Report, ...]] = {
    "sound": (samples.sound(),),
    "broken": (samples.broken(),),
    "unknown": (samples.unknown(),),
    "nothing": (samples.nothing(),),
    "hostile": (samples.hostile(),),
    "several": SEVERAL,
}


def page(columns: int, **changes: object) -> Page:
    return Page(columns, seconds=0.0832, prose=samples.prose)._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", PAGES)
def test_snapshot(name: str, columns: int, generated: Callable[[Path, str], None]) -> None:
    generated(SNAPSHOTS / f"{name}-{columns}.txt", render("text", PAGES[name], page(columns)))


def test_snapshot_verbose(generated: Callable[[Path, str], None]) -> None:
    text = render("text", PAGES["broken"], page(100, verbose=True))
    generated(SNAPSHOTS / "broken-verbose-100.txt", text)
    assert "model.layers.31.mlp.down_proj.weight" in text
    assert "no adapter_config.json" in text


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", PAGES)
def test_no_line_is_wider_than_the_page(name: str, columns: int) -> None:
    for line in render("text", PAGES[name], page(columns)).splitlines():
        assert width(line) <= max(columns, 60), line  # the verdict table needs 60, as narrow terminals scroll


@pytest.mark.parametrize("name", PAGES)
def test_colour_only_adds_to_the_plain_page(name: str) -> None:
    plain = render("text", PAGES[name], page(80))
    coloured = render("text", PAGES[name], page(80, color=True))
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("name", PAGES)
def test_ascii_page_keeps_its_columns(name: str) -> None:
    plain = render("text", PAGES[name], page(80, unicode=False))
    assert plain.isascii()


def test_hostile_names_reach_no_terminal() -> None:
    text = render("text", PAGES["hostile"], page(120, color=False))
    assert all(char == "\n" or char.isprintable() for char in text)
    assert r"\x1b[2J\x1b]0;owned\x07model.\u202egnp" in text


@given(st.text(min_size=1), st.integers(1, 30))
def test_safe_text(text: str, columns: int) -> None:
    safe = clean(text)
    assert safe.isprintable()
    assert clean(safe) == safe
    assert width(elide(safe, columns)) <= columns
    if width(safe) <= columns:
        assert elide(safe, columns) == safe


@given(st.text(alphabet=st.characters(codec="utf-8")), st.integers(2, 40))
def test_fold_loses_no_word(text: str, columns: int) -> None:
    lines = fold(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(clean(text.strip().replace("\n", " ")).split())


def test_places_are_told_up_to_a_limit() -> None:
    text = render("text", PAGES["broken"], page(120))
    assert text.count("@ model-00001-of-00002.safetensors") == 3
    assert "… 5 more" in text


def test_many_findings_of_one_rule_are_folded() -> None:
    base = samples.missing_absmax()
    many = tuple(base._replace(message=f"cause {number}", fingerprint=f"{number:016}") for number in range(9))
    text = render("text", [samples.broken()._replace(findings=many)], page(80))
    assert "cause 3" in text
    assert "cause 4" not in text
    assert "5 more of bnb/missing-companion" in text
    assert "9 errors" in text


def test_json_place_points_where_editors_jump() -> None:
    text = render("text", PAGES["broken"], page(80))
    assert "config.json:12:17  /hidden_act" in text


def test_fixes_name_the_command() -> None:
    report = samples.broken()
    text = render("text", [report], page(80))
    assert "ckptdoctor fix --unsafe does this" in text
    assert "Fetch the shard again" in text, "a finding without a fix shows its card's advice"


def test_blind_skips_are_told_and_not_applicable_ones_are_not() -> None:
    text = render("text", PAGES["broken"], page(120))
    assert "could not look  values/nested-offset" in text
    assert "2 rules: the model's class is remote code" in text
    assert "adapter/rank" not in text


def test_a_crash_is_told_as_ours() -> None:
    assert "a bug in ckptdoctor" in render("text", PAGES["hostile"], page(200))


def test_sound_is_said_only_when_all_was_judged() -> None:
    def closing(report: Report) -> str:
        return render("text", [report], page(120)).splitlines()[-1].split(" · ")[0]

    assert closing(samples.sound()) == "Sound"
    assert closing(samples.unknown()) == "Nothing found, not everything judged"
    assert (
        closing(samples.sound()._replace(skips=samples.broken().skips))
        == "Nothing wrong in what could be read"
    )
    assert closing(samples.nothing()) == "No verdict"


def test_many_sound_checkpoints_are_counted_worst_first() -> None:
    fleet = [samples.sound()._replace(target=f"./m/{number}") for number in range(40)]
    text = render("text", [*fleet, samples.broken()], page(80, below="./m"))
    assert text.startswith("41 checkpoints below ./m\n")
    rows = [line for line in text.splitlines() if line.startswith(("  ✗", "  ✓"))]
    assert "quantised" in rows[0]
    assert "40 more checkpoints: sound" in rows[1]


def test_a_place_without_a_file_is_left_out() -> None:
    finding = samples.misnamed()._replace(locations=(Location(""),))
    assert "where" not in render("text", [samples.broken()._replace(findings=(finding,))], page(80))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (170, "170 B"),
        (41_234, "41 kB"),
        (999_600, "1.0 MB"),
        (5_702_774_784, "5.7 GB"),
        (688_600_000_000, "689 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
