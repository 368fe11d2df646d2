"""Small lies told to rule data: each must turn some example red, else that datum has no witness."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ckptdoctor.ruledata import holds, parse_version

Known = Mapping[str, list[str]]
"""Loader → its known releases, oldest first."""


class Mutant(NamedTuple):
    """Data with one datum changed."""

    name: str
    data: Any


def known_releases(loaders: Mapping[str, Mapping[str, Any]]) -> Known:
    """Return the releases of every loader's own package."""
    return {name: sorted(data["releases"].get(name, ()), key=parse_version) for name, data in loaders.items()}


def of_card(card: Mapping[str, Any], known: Known) -> Iterator[Mutant]:
    """Yield the mutants of one card: parameters, what the judge goes by, repair, rows, ``when``, bounds, words."""
    for name, params in of_value(card["params"], "with"):
        yield Mutant(name, {**card, "params": params})
    fields = {key: card[key] for key in ("yields_to", "decided_by", "foreign") if key in card}
    for name, changed in of_value(fields, "card"):
        yield Mutant(name, {**{key: card[key] for key in card if key not in fields}, **changed})
    if "edits" in card["fix"]:
        without = {key: value for key, value in card["fix"].items() if key != "edits"}
        yield Mutant("fix.edits dropped", {**card, "fix": without})
    for loader, rows in card["outcomes"].items():
        if isinstance(rows, str):
            continue
        for name, changed in _of_rows(rows, known.get(loader, []), f"outcomes.{loader}"):
            yield Mutant(name, {**card, "outcomes": {**card["outcomes"], loader: changed}})


def of_table(rows: Any, known: list[str]) -> Iterator[Mutant]:
    """Yield a loader's table with a row dropped, an outcome word changed, a version bound dropped or moved."""
    if not isinstance(rows, list):
        yield from of_value(rows, "")
        return
    for place, row in enumerate(rows):
        rest = (rows[:place], rows[place + 1 :])
        name = " ".join(
            str(row[key]) for key in ("name", "package", "method", "stored", "read") if key in row
        )
        yield Mutant(f"{name} dropped", [*rest[0], *rest[1]])
        if "outcome" in row:
            other = "corrupt" if row["outcome"] == "fails" else "fails"
            yield Mutant(
                f"{name} outcome changed ({row['outcome']})", [*rest[0], {**row, "outcome": other}, *rest[1]]
            )
        for change, spec in of_spec(row.get("versions", []), known):
            yield Mutant(f"{name} {change}", [*rest[0], {**row, "versions": spec}, *rest[1]])


def of_value(value: Any, at: str) -> Iterator[Mutant]:
    """Yield ``value`` with one key or item dropped or one scalar changed, at any depth; top-level scalars too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("versions", "spec") and "versions" in value:
                continue
            yield Mutant(f"{at}.{key} dropped", {k: v for k, v in value.items() if k != key})
            for name, changed in of_value(item, f"{at}.{key}"):
                yield Mutant(name, {**value, key: changed})
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield Mutant(f"{at}[{place}] dropped ({_short(item)})", value[:place] + value[place + 1 :])
            if isinstance(item, Mapping | list):
                for name, changed in of_value(item, f"{at}[{place}]"):
                    yield Mutant(name, [*value[:place], changed, *value[place + 1 :]])
    elif value is not None:
        yield Mutant(f"{at} changed ({_short(value)})", _other(value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return f"{value}-not" if isinstance(value, str) else value + 1


def _of_rows(rows: list[Any], known: list[str], at: str) -> Iterator[Mutant]:
    for place, row in enumerate(rows):
        where = f"{at}[{place}]"
        yield Mutant(f"{where} dropped", rows[:place] + rows[place + 1 :])
        versions, when, outcome, *rest = row
        changed: list[tuple[str, list[Any]]] = [
            (
                f"outcome changed ({outcome})",
                [versions, when, "corrupt" if outcome == "fails" else "fails", *rest],
            )
        ]
        for key, value in when.items():
            dropped = {k: v for k, v in when.items() if k != key}
            changed.append((f"when.{key} dropped", [versions, dropped, outcome, *rest]))
            changed.append(
                (f"when.{key} changed", [versions, {**when, key: _other(value or 0)}, outcome, *rest])
            )
        for name, spec in of_spec(versions, known):
            changed.append((name, [spec, when, outcome, *rest]))
        for name, other in changed:
            yield Mutant(f"{where} {name}", [*rows[:place], other, *rows[place + 1 :]])


def of_spec(spec: list[Any], known: list[str]) -> Iterator[Mutant]:
    """Yield ``spec`` with one bound dropped, or moved past the nearest known release on either side."""
    for place, clause in enumerate(spec):
        inside = [version for version in known if holds([clause], parse_version(version))]
        outside = [version for version in known if version not in inside]
        sign, bound = clause
        shown = f"{sign}{'.'.join(map(str, bound))}"
        others = spec[:place] + spec[place + 1 :]
        if not outside or not inside:
            continue  # no release tells the difference
        yield Mutant(f"versions {shown} dropped", copy.copy(others))
        if sign in (">", ">="):
            yield Mutant(
                f"versions {shown} raised past {inside[0]}", [*others, (">", parse_version(inside[0]))]
            )
            yield Mutant(
                f"versions {shown} lowered to {outside[-1]}", [*others, (">=", parse_version(outside[-1]))]
            )
        elif sign in ("<", "<="):
            yield Mutant(
                f"versions {shown} lowered past {inside[-1]}", [*others, ("<", parse_version(inside[-1]))]
            )
            yield Mutant(
                f"versions {shown} raised to {outside[0]}", [*others, ("<=", parse_version(outside[0]))]
            )
