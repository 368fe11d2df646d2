"""Reading ``rules/loaders/*.yaml``: which behaviours hold at a version, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import ruledata
from ..model import Evidence, Outcome, Target

Data = Mapping[str, Any]


def rows(data: Data, table: str) -> list[Mapping[str, Any]]:
    """Return the rows of a table of a loader's data (none when the table is absent)."""
    found = data.get(table)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []


def rows_at(data: Data, table: str, version: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table that hold at ``version``; one without an interval holds always."""
    for row in rows(data, table):
        if "versions" not in row or ruledata.matches(row["versions"], version):
            yield row


def does(data: Data, name: str, version: str, table: str = "behaviour") -> bool:
    """Whether the behaviour called ``name`` holds at ``version``."""
    return any(
        row["name"] == name and ruledata.matches(row["versions"], version) for row in rows(data, table)
    )


def regime(data: Data, version: str, table: str = "regimes") -> str:
    """Return the name of the interval of ``table`` that holds at ``version``, "" in a gap."""
    return next((row["name"] for row in rows(data, table) if ruledata.matches(row["versions"], version)), "")


def disagreement(data: Data, stored: str, read: str, version: str) -> tuple[Outcome, str | None]:
    """Return outcome and error text when a weight stored in family ``stored`` is read as family ``read``."""
    for row in rows(data, "disagreements"):
        if row["stored"] == stored and row["read"] == read and ruledata.matches(row["versions"], version):
            return row["outcome"], row.get("error")
    return "unknown", None


def evidence(data: Data, target: Target, *parts: str) -> Evidence:
    """``source`` where the releases of all the target's packages were read in ``parts`` (default: loading).

    At releases that were read and between two of them that say the same (``rulebook.releases``); else ``assumed``, as
    for builds that are no release: another local part, a development version.
    """
    known = [package for package in data["read"] if package in target.versions]
    sure = all(
        _read(data, package, target.versions[package], part)
        for package in known
        for part in parts or ("loading",)
    )
    return "source" if known and sure else "assumed"


def _read(data: Data, package: str, version: str, part: str) -> bool:
    """Whether a part was read at a release; a package of which nobody reads that part has none such."""
    spans = data["read"][package]
    if part not in spans and spans:
        return True
    listed = version in data["releases"][package]
    return listed and any(ruledata.matches(span, version) for span in spans.get(part, ()))


def is_newer(data: Data, target: Target) -> bool:
    """Whether the target's version is newer than every release of the loader that is known."""
    newest = max(map(ruledata.parse_version, data["releases"][target.loader]))
    return ruledata.parse_version(target.version) > newest


def groups(data: Data) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (fused name, names of its parts)."""
    fused = data.get("fused")
    if isinstance(fused, Mapping):
        for name, parts in fused.items():
            yield name, tuple(parts)


def all_groups(loaders: Mapping[str, Data]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the groups of every loader."""
    for data in loaders.values():
        yield from groups(data)


def in_words(spec: ruledata.Spec) -> str:
    """Return an interval as people write it: ``0.8.5 – 0.24.0``, ``0.30.0 and later``, ``0.6.4``."""
    bounds = {sign: ".".join(map(str, bound)) for sign, bound in spec}
    if "==" in bounds:
        return bounds["=="]
    low, high = bounds.get(">="), bounds.get("<=")
    if low and high:
        return f"{low} – {high}"
    return f"{low} and later" if low else f"{high} and earlier"
