"""No text out of a checkpoint acts: on a terminal, in a CI runner's log, as Markdown, HTML, JSON or SARIF.

Every string of a report is hostile at once; what is looked at are the bytes that would be written.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import unicodedata
from typing import Any

import jsonschema
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ckptdoctor.model import (
    CheckpointError,
    Crash,
    Finding,
    Fix,
    JsonSet,
    Location,
    Report,
    Skip,
    Suppressed,
    Target,
    Verdict,
)
from ckptdoctor.render import FORMATS, Page, render
from ckptdoctor.render.safe import clean, dumps, inert, message

from ..support import sample_reports as samples
from .test_json_schema import SCHEMA
from .test_machine_formats import official

# Shrinking reports of forty texts takes minutes; the first one that fails says enough.
MORE = int(os.environ.get("CKPTDOCTOR_EXAMPLES", "1"))
"""``CKPTDOCTOR_EXAMPLES=50 pytest tests/render tests/skiplists`` looks that much longer."""
QUICK: dict[str, Any] = {"deadline": None, "phases": (Phase.generate,)}
PARTS = (
    "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\r\n", "\n", "\x00", "\u202e", "\u2066", "\u200b", "\ufe0f", "\u2028",
    "\x85", "\ud800", "\udc80", "\ude00", "##[error]x", "##[", "#", "[", "##", "::error file=a::x", "::", ":", " ",
    "::stop-commands::t", "%0A::error::x", "%", "<img src=x onerror=y>", "<!--", "-->", "</code>", "&lt;", "`", "``",
    "[a](http://evil.example)", "![a](b)", "](", "[", "]", "http://evil.example", "www.evil.example", "@team",
    "a@evil.example", "|", "\\", "\\|", "---", "===", "- ", "1. ", "> ", "~~~", "```", "    ", "\t", "*a*", "_a_",
    "$x$",
    "<http://evil.example>", "[x]: http://evil.example", "model.layers.0", "a/b", "../", "C:\\", "层.权重", "{0}",
    "\N{ZERO WIDTH JOINER}", "e\N{COMBINING ACUTE ACCENT}", "\N{VARIATION SELECTOR-16}", "😀",
)  # fmt: skip
EVIL = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=7).map("".join)
OUTCOMES = st.sampled_from(["fails", "corrupt", "unknown", "ok"])
NUMBER = st.none() | st.integers(1, 10**9)


@st.composite
def reports(draw: Any) -> Report:
    """A report in which every text is hostile, those of cards and loaders included."""
    target = Target(
        draw(EVIL), {draw(EVIL): draw(EVIL)}, {draw(EVIL): draw(EVIL)}, sweep=draw(st.just("") | EVIL)
    )
    target = target._replace(origin=draw(st.sampled_from(["requested", "assumed"])))
    verdict = Verdict(
        target, draw(OUTCOMES), draw(EVIL), (draw(EVIL),), "source", needs=(draw(EVIL),), reason=draw(EVIL)
    )
    fix = Fix(draw(EVIL), draw(st.sampled_from(["safe", "manual"])), (JsonSet(draw(EVIL), draw(EVIL), 1),))
    places = st.builds(Location, EVIL, st.none() | EVIL, st.none() | EVIL, NUMBER, NUMBER, st.none() | EVIL)
    base = samples.missing_absmax()
    finding: Finding = base._replace(
        rule=draw(EVIL),
        severity=draw(st.sampled_from(["error", "warning", "note"])),
        message=draw(EVIL) or "x",
        locations=tuple(draw(st.lists(places, max_size=3))),
        facts={draw(EVIL): draw(EVIL), "more": (draw(EVIL), 1.5), "none": draw(st.floats())},
        outcomes=(base.outcomes[0]._replace(target=target, error=draw(EVIL), outcome=verdict.outcome),),
        fix=draw(st.none() | st.just(fix)),
        subject=draw(EVIL),
    )
    return samples.broken()._replace(
        target=draw(EVIL),
        base=draw(st.none() | EVIL),
        schemes=(draw(EVIL),),
        revision=draw(st.none() | EVIL),
        findings=(finding,),
        suppressed=(Suppressed(finding, draw(EVIL)),),
        verdicts=(verdict,),
        skips=tuple(Skip(draw(EVIL), kind, draw(EVIL)) for kind in ("blind", "abstained", "not-applicable")),
        crashes=(Crash(draw(EVIL), draw(EVIL)),),
        nothing=draw(st.just("") | EVIL),
    )


@st.composite
def pages(draw: Any) -> Page:
    """Any page without colour, with cards whose prose is hostile (a card of one's own is a file like any other)."""
    words = {"summary": draw(EVIL), "how_to_fix": draw(EVIL), "why": draw(EVIL)}
    return Page(
        width=draw(st.sampled_from([40, 100])),
        unicode=draw(st.booleans()),
        verbose=draw(st.booleans()),
        prose=lambda rule: words,
        base=draw(st.sampled_from(["", "/work"])),
        below=draw(st.just("") | EVIL),
    )


def acting(line: str) -> bool:
    """Whether GitHub's runner would take ``line`` for a command (TryParseV2 and TryParse of its ActionCommand.cs)."""
    seen = "".join(c for c in line if unicodedata.category(c) not in ("Cf", "Mn", "Me", "Cc")).lstrip()
    return bool(re.match("::[^:]*::", seen)) or "##[" in seen or "##[" in line


def check_log(text: str, own: str = "(?!)") -> None:
    data = text.encode("utf-8")  # no lone surrogate leaves
    assert data.decode() == text
    for line in text.split("\n"):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], repr(line)
        if re.match(own, line):
            assert "##[" not in line
        else:
            assert not acting(line), repr(line)
            assert not line.lstrip().startswith("::"), repr(line)


@settings(max_examples=50 * MORE, **QUICK)
@given(st.lists(reports(), min_size=1, max_size=2), pages())
def test_nothing_acts_in_a_log(found: list[Report], page: Page) -> None:
    for form in FORMATS:
        own = r"::(error|warning|notice) [^:\n]*::" if form == "github" else "(?!)"
        text = render(form, found, page)
        check_log(text.replace("⚠️", "") if form == "markdown" else text, own)


@settings(max_examples=20 * MORE, **QUICK)
@given(st.lists(reports(), min_size=1, max_size=2), pages())
def test_colours_are_all_that_a_page_adds(found: list[Report], page: Page) -> None:
    text = render("text", found, page._replace(color=True))
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == render("text", found, page)


@settings(max_examples=30 * MORE, **QUICK)
@given(reports(), pages())
def test_annotations_say_what_was_found_and_nothing_else(report: Report, page: Page) -> None:
    """As many commands as findings and crashes, each with the fields that we gave it."""
    lines = render("github", [report], page).splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == len(report.findings) + len(report.crashes) + bool(report.nothing)
    for line in commands:
        fields = line[2:].partition("::")[0].partition(" ")[2].split(",")
        assert {field.partition("=")[0] for field in fields} <= {"file", "line", "col", "title"}
        assert len(fields) == len({field.partition("=")[0] for field in fields})


@settings(max_examples=30 * MORE, **QUICK)
@given(reports())
def test_what_the_library_raises_acts_in_no_log(report: Report) -> None:
    check_log(str(CheckpointError(report, report.verdicts[0])))


def no_constant(text: str) -> None:
    raise AssertionError(f"JSON has no {text}")


def texts_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=30 * MORE, **QUICK)
@given(st.lists(reports(), min_size=1, max_size=2), pages())
def test_json_and_sarif_are_valid_and_hold_whole_characters(found: list[Report], page: Page) -> None:
    for form in ("json", "sarif"):
        text = render(form, found, page)
        assert text.isascii()
        value = json.loads(text, parse_constant=no_constant)
        for part in texts_of(value):
            part.encode("utf-8")
        if form == "json":
            jsonschema.validate(value, SCHEMA)
            continue
        for result in value["runs"][0]["results"]:
            assert not re.search(r"(?<!\\)\[[^\]]*\]\([^)]+\)", result["message"]["text"])  # §3.11.6: a link


@settings(max_examples=6 * MORE, **QUICK)
@given(reports(), pages())
def test_sarif_meets_its_schema(report: Report, page: Page) -> None:
    jsonschema.Draft4Validator(official()).validate(json.loads(render("sarif", [report], page)))


LINKIFY = importlib.util.find_spec("linkify_it") is not None
READERS = {
    "commonmark": MarkdownIt("commonmark").enable(["table", "strikethrough"]),
    # As GitHub reads it: autolinks as well, but no bare host names.
    "gfm": MarkdownIt("gfm-like") if LINKIFY else MarkdownIt("commonmark"),
}
if LINKIFY:
    READERS["gfm"].linkify.set({"fuzzy_link": False})
OURS = {
    "heading", "paragraph", "inline", "text", "softbreak", "code_inline", "strong", "bullet_list", "list_item",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def kinds(tokens: list[Token]) -> set[str]:
    found = {re.sub("_(open|close)$", "", token.type) for token in tokens}
    return found.union(*(kinds(token.children) for token in tokens if token.children))


@pytest.mark.parametrize("reader", READERS)
def test_markdown_is_ours_alone(reader: str) -> None:
    if reader == "gfm" and not LINKIFY:
        pytest.skip("markdown-it-py[linkify] is not installed")

    @settings(max_examples=50 * MORE, **QUICK)
    @given(reports(), pages())
    def run(report: Report, page: Page) -> None:
        tokens = READERS[reader].parse(render("markdown", [report], page))
        assert kinds(tokens) <= OURS
        assert sum(token.type == "heading_open" for token in tokens) == 1 + len(report.findings)
        cells = sum(token.type == "td_open" for token in tokens)
        assert cells == 4 * len(report.verdicts)

    run()


@given(EVIL)
def test_words_keep_to_themselves(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert inert(inert(text)) == inert(text)
    check_log(message(text))
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.loads(dumps(whole)) == whole
