"""The report of one intake, in Markdown: what a person reads before a release counts as read."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from scripts.release.intake import Taken
from scripts.release.package import Package
from scripts.release.places import Change
from scripts.release.syntax import definitions

SHOWN = 40
WIDTH = 160
_CUT = re.compile(r"(,) (?=[\[\"'(A-Z])")


def of_places(taken: Taken, package: Package) -> Iterator[str]:
    """Yield what changed in the places that the model was read from, and which parts count as read."""
    yield f"# {package.name} {package.version}\n"
    yield f"Taken in by `python -m scripts.release {package.name} {package.version}`.\n"
    yield f"Read: {', '.join(taken.read) or 'nothing'}.\n"
    yield "## The places that the model was read from\n"
    if not taken.changes:
        yield "All are as they were."
    else:
        yield "| part | file | what | since |\n|---|---|---|---|"
        for change in taken.changes:
            name = change.place.name if change.place.name != "*" else "(all of it)"
            yield f"| {change.place.part} | `{change.place.file}` `{name}` | {change.what} | {change.since} |"
    yield ""


def of_lists(taken: Taken, needs: Sequence[str]) -> Iterator[str]:
    """Yield what the release lists that it did not before, or no longer, and what it asks of other packages."""
    yield "## Lists\n"
    for table, found in taken.lists.items():
        yield f"- `{table}`: {_names('new', found.added)}; {_names('gone', found.gone)}"
    if not taken.lists:
        yield "- none are kept of this package"
    yield "\n## What it asks of other packages\n"
    yield from [f"    {line}" for line in needs] or ["As before."]
    yield ""


def of_runs(since: str, both: int, lines: Sequence[str], agreed: str, wrong: Sequence[str]) -> Iterator[str]:
    """Yield what the loader did otherwise than the version recorded before it, and how far our verdicts agree."""
    yield "## Runs\n"
    if not agreed:
        yield "Not run.\n"
        return
    yield f"{both} cases were run as in {since}; {len(lines)} came out otherwise."
    yield from _listed(lines)
    yield f"\nOur verdicts: {agreed}."
    yield from _listed(wrong)
    yield ""


def of_verdicts(target: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield which of our verdicts changed by the intake."""
    yield "## Verdicts\n"
    yield f"For `{target}`, before and after the intake: {len(lines)} differences."
    yield from _listed(lines)


def diffs(changes: Iterable[Change], old: Package, new: Package) -> Iterator[str]:
    """Yield the changed places as unified diffs of normalised source (no comments, one layout)."""
    for change in changes:
        place = change.place
        pair = [_unparsed(package.sources.get(place.file, ""), place.name) for package in (old, new)]
        title = f"{place.file} {place.name}"
        yield from difflib.unified_diff(
            *pair, f"{old.version} {title}", f"{new.version} {title}", lineterm="", n=3
        )


def _unparsed(source: str, name: str) -> list[str]:
    """Return what ``name`` stands for as lines that a diff can tell apart: long ones are cut behind their commas."""
    lines = [line for node in definitions(source, name) for line in ast.unparse(node).splitlines()]
    return [
        piece
        for line in lines
        for piece in ([line] if len(line) <= WIDTH else _CUT.sub(r"\1\n    ", line).splitlines())
    ]


def _names(word: str, names: Sequence[str]) -> str:
    return f"{word}: {', '.join(f'`{name}`' for name in names)}" if names else f"none {word}"


def _listed(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"- {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield f"- … and {len(lines) - SHOWN} more"
