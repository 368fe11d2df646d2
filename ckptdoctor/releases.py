"""The releases of each package that are known, and which versions cannot be.

A version that never was is no bad guess at once: builds of a branch, of a vendor or of next month have their own, and
what is known of their neighbours is *assumed* of them. It cannot be when it is older than the first release that could
open a safetensors checkpoint, or further ahead of the newest known than one more year of releases at the pace of the
last: that many minor versions on, in this major version or the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from .ruledata import Rulebook, parse_version

_YEAR = timedelta(days=365)


def releases(package: str, rulebook: Rulebook) -> Mapping[str, str]:
    """Return version → release date (ISO) of ``package``, from whichever loader's data lists it."""
    for data in rulebook.loaders.values():
        table = data["releases"].get(package)
        if isinstance(table, Mapping):
            return table
    return {}


def newest(package: str, rulebook: Rulebook) -> str:
    """Return the newest known release of ``package``, "" when none is known."""
    return max(releases(package, rulebook), key=parse_version, default="")


def why_impossible(package: str, version: str, rulebook: Rulebook) -> str:
    """Say why there can be no such version, naming the known releases nearest to it; "" where there can.

    Raises ValueError when ``version`` is none at all.
    """
    here, known = parse_version(version), releases(package, rulebook)
    if not known or version in known:
        return ""
    order = sorted(known, key=parse_version)
    oldest = _oldest(package, rulebook) or order[0]
    if here < parse_version(oldest):
        return f"{package} opens safetensors files from {oldest} on; the oldest known releases are {_list(order[:2])}"
    if _minor(here) > _last_minor(known, order[-1], _minor(here)[0]):
        return f"there is no {package} {version}, nor soon; the newest known releases are {_list(order[-2:])}"
    return ""


def _last_minor(known: Mapping[str, str], last: str, major: int) -> tuple[int, int]:
    """Return the largest (major, minor) within a year's releases of the newest known, in ``major`` where it may be."""
    since = date.fromisoformat(known[last]) - _YEAR
    recent = {
        _minor(parse_version(version)) for version, day in known.items() if date.fromisoformat(day) > since
    }
    newest = _minor(parse_version(last))
    return (newest[0] + 1, len(recent)) if major > newest[0] else (newest[0], newest[1] + len(recent))


def _minor(version: tuple[int, ...]) -> tuple[int, int]:
    return version[0], version[1] if len(version) > 1 else 0


def _oldest(package: str, rulebook: Rulebook) -> str:
    for data in rulebook.loaders.values():
        if package in data.get("oldest", ()):
            return str(data["oldest"][package])
    return ""


def _list(versions: list[str]) -> str:
    return " and ".join(versions)
