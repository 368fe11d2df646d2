"""Styled lines: what a page is made of before it is painted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from ..model import Outcome, Severity
from . import Page
from .safe import clean, elide, inert, width

SGR = {
    "ok": "32",
    "bad": "1;31",
    "corrupt": "1;35",
    "warn": "33",
    "info": "36",
    "dim": "2",
    "strong": "1",
    "rule": "1;36",
}
"""Style → ANSI Select Graphic Rendition code. No word is told by colour alone."""

OUTCOME_STYLE: dict[Outcome, str] = {
    "fails": "bad",
    "fails-late": "bad",
    "corrupt": "corrupt",
    "wrong-precision": "warn",
    "unknown": "info",
    "ok": "ok",
}
OUTCOME_GLYPH: dict[Outcome, str] = {
    "fails": "✗",
    "fails-late": "✗",
    "corrupt": "✗",
    "wrong-precision": "≠",
    "unknown": "?",
    "ok": "✓",
}
SEVERITY_STYLE: dict[Severity, str] = {"error": "bad", "warning": "warn", "note": "info"}

_ASCII = {"✓": "+", "✗": "x", "≠": "!", "…": "~", "·": "-", "×": "x", "–": "-"}
"""Stand-ins as wide as what they stand for, so that columns stay columns."""


class Segment(NamedTuple):
    """A piece of a line in one style (a key of ``SGR``, or plain). Make it with ``seg``."""

    text: str
    style: str = ""


Line: TypeAlias = list[Segment]


def seg(text: str, style: str = "") -> Segment:
    """Return a segment whose text is safe to print."""
    return Segment(clean(text), style)


def paint(lines: Iterable[Line], page: Page) -> str:
    """Return ``lines`` as one text: ANSI colours if the page has them, ASCII if it has nothing else."""
    rows = ("".join(_paint(segment, page.color) for segment in _trim(line)) for line in lines)
    text = inert("".join(row + "\n" for row in rows))
    return text if page.unicode else _ascii(text)


def _trim(line: Line) -> Line:
    """Drop the blanks that pad the end of a line."""
    kept = list(line)
    while kept and not (last := kept.pop()).text.rstrip():
        pass
    return [*kept, Segment(last.text.rstrip(), last.style)] if line else []


def _paint(segment: Segment, color: bool) -> str:
    text = clean(segment.text)
    return f"\x1b[{SGR[segment.style]}m{text}\x1b[0m" if color and segment.style else text


def _ascii(text: str) -> str:
    for char, plain in _ASCII.items():
        text = text.replace(char, plain)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def line_width(line: Line) -> int:
    """Return the columns ``line`` takes."""
    return sum(width(segment.text) for segment in line)


def pad(segment: Segment, columns: int) -> Segment:
    """Return ``segment`` elided or filled with blanks to exactly ``columns``."""
    text = elide(segment.text, columns)
    return Segment(text + " " * (columns - width(text)), segment.style)


def fold(text: str, columns: int) -> list[str]:
    """Return ``text`` wrapped at blanks into lines of at most ``columns``; a longer word is cut."""
    lines, current = [], ""
    for word in clean(text.strip().replace("\n", " ")).split():
        if current and width(current) + 1 + width(word) <= columns:
            current += " " + word
            continue
        if current:
            lines.append(current)
        while width(word) > columns:
            cut = _cut(word, columns)
            lines.append(word[:cut])
            word = word[cut:]
        current = word
    return [*lines, current] if current else lines


def _cut(word: str, columns: int) -> int:
    """Return where to break ``word``: after a separator in the line's second half, else at its edge."""
    edge = next(end for end in range(len(word), 0, -1) if width(word[:end]) <= columns or end == 1)
    soft = max(word.rfind(mark, 0, edge) for mark in "./_-,")
    return soft + 1 if soft > edge // 2 else edge


def hang(label: Line, text: str, page: Page, style: str = "", *, indent: int | None = None) -> list[Line]:
    """Return ``text`` wrapped behind ``label``; further lines start at ``indent``, else where it began."""
    start = line_width(label)
    indent = start if indent is None else indent
    first, *rest = fold("x" * (start - indent) + text, max(page.width - indent, 16)) or [""]
    lines = [[*label, Segment(first[max(start - indent, 0) :], style)]]
    return lines + [[Segment(" " * indent), Segment(more, style)] for more in rest]


def flow(label: Line, parts: Sequence[Line], page: Page) -> list[Line]:
    """Return ``parts`` joined by dots behind ``label``, breaking lines between parts where it can."""
    indent = line_width(label)
    lines: list[Line] = [list(label)]
    fresh = True
    for part in parts:
        if fresh or line_width(lines[-1]) + 3 + line_width(part) <= page.width:
            lines[-1] += part if fresh else [Segment(" · ", "dim"), *part]
        else:
            lines.append([Segment(" " * indent), *part])
        fresh = False
        if line_width(lines[-1]) > page.width:
            *head, last = lines.pop()
            lines += hang(head, last.text, page, last.style, indent=indent)
    return lines


def columns(rows: Sequence[Sequence[Segment]]) -> list[int]:
    """Return the natural width of each column of ``rows``."""
    return [max(width(cell.text) for cell in column) for column in zip(*rows, strict=True)]


def table(rows: Sequence[Sequence[Segment]], gap: str = "  ") -> list[Line]:
    """Return ``rows`` as indented lines, each column as wide as its widest cell and ``gap`` after it."""
    widths = columns(rows)
    lines: list[Line] = []
    for row in rows:
        line: Line = [Segment("  ")]
        for cell, wide in zip(row, widths, strict=True):
            line += [pad(cell, wide), Segment(gap)]
        lines.append(line)
    return lines


def size(count: int) -> str:
    """Return a number of bytes in decimal units, as the Hub counts: ``170 B``, ``41 kB``, ``5.7 GB``."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit in ("B", "kB") or value >= 99.5 else f"{value:.1f} {unit}"
