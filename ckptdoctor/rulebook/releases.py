"""Releases of a loader's YAML: when each came out, what of it was read, and so between which versions we know.

``read`` of a release names the parts that were read in it. A part is known at a release that was read, and at those
between two neighbours that were read and for which no table of the loader says anything different. A release that is
only listed has a date and raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..ruledata import Spec, matches, parse_version
from .versions import compile_spec

COLD = ("places",)
"""Tables that only the intake of a release reads."""
Releases = Mapping[str, Mapping[str, Any]]
"""Version → ``{date, read, ran}``."""


def hot(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loader's data as a run reads it: dates of releases, and spans of versions by package and part."""
    kept = {key: item for key, item in value.items() if key not in COLD}
    kept["releases"] = {
        package: {version: about["date"] for version, about in table.items()}
        for package, table in value["releases"].items()
    }
    kept["read"] = {
        package: {part: list(spans(value, package, part)) for part in parts(table)}
        for package, table in value["releases"].items()
    }
    return kept


def parts(table: Releases) -> list[str]:
    """Return what was read in some release of a package, each part once."""
    return list(dict.fromkeys(part for about in table.values() for part in about.get("read", ())))


def spans(value: Mapping[str, Any], package: str, part: str) -> Iterator[Spec]:
    """Yield the intervals of versions in which ``part`` of ``package`` is known from its source."""
    table: Releases = value["releases"][package]
    versions = sorted(
        (version for version, about in table.items() if part in about.get("read", ())), key=parse_version
    )
    run = versions[:1]
    for version in versions[1:]:
        if said(value, package, version) != said(value, package, run[-1]):
            yield _between(run)
            run = []
        run.append(version)
    if run:
        yield _between(run)


def _between(run: list[str]) -> Spec:
    return ((">=", parse_version(run[0])), ("<=", parse_version(run[-1])))


def said(value: Mapping[str, Any], package: str, version: str) -> list[bool]:
    """Return for every row about ``package`` whether it holds at ``version``; lists of names were read on their own."""
    others = value.get("versions_of", {})
    return [
        matches(compile_spec(row["versions"]), version)
        for name, table in value.items()
        if isinstance(table, list) and others.get(name, value["loader"]) == package
        for row in table
        if isinstance(row, dict) and "versions" in row and "names" not in row
    ]
