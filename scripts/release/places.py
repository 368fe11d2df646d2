"""The places a loader model was read from: ``places`` of ``rules/loaders/<name>.yaml``, each with digests by release.

places:
  vllm:                     # package
    loading:                # part, as in `read` of a release
      vllm/…/weight_utils.py:
        filter_duplicate_safetensors_files: {1f2e3d4c: 0.32.0 0.33.0}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ckptdoctor.ruledata import parse_version
from scripts.release import yamltext
from scripts.release.package import Package
from scripts.release.syntax import ABSENT, digest


class Place(NamedTuple):
    """One function, class or file."""

    part: str
    file: str
    name: str
    seen: Mapping[str, str]
    """Release → digest."""

    def before(self, version: str) -> str:
        """Return the newest release older than ``version`` whose digest is known, "" when there is none."""
        older = (one for one in self.seen if parse_version(one) < parse_version(version))
        return max(older, key=parse_version, default="")


class Change(NamedTuple):
    """A place that is another than it was in the release before."""

    place: Place
    since: str
    """The release it is compared with, "" where none was read."""
    what: str
    """``changed``, ``gone``, ``new`` or ``never read``."""


def of(data: Mapping[str, Any], package: str) -> list[Place]:
    """Return the places of one package in a loader's data."""
    return [
        Place(
            part,
            file,
            name,
            {version: code for code, versions in seen.items() for version in versions.split()},
        )
        for part, files in data.get("places", {}).get(package, {}).items()
        for file, names in files.items()
        for name, seen in names.items()
    ]


def read(places: list[Place], package: Package) -> list[Place]:
    """Return the places with the digests of a package added."""
    return [
        place._replace(
            seen={**place.seen, package.version: digest(package.sources.get(place.file), place.name)}
        )
        for place in places
    ]


def changes(places: list[Place], version: str) -> Iterator[Change]:
    """Yield what is another at ``version`` than at the release before it."""
    for place in places:
        since = place.before(version)
        now, then = place.seen[version], place.seen.get(since)
        if then is None:
            yield Change(place, "", "never read")
        elif now != then:
            what = "gone" if now == ABSENT else "new" if then == ABSENT else "changed"
            yield Change(place, since, what)


def unchanged_parts(places: list[Place], version: str, table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the parts all of whose places are as in some release in which that part was read."""
    found = []
    for part in dict.fromkeys(place.part for place in places):
        mine = [place.seen for place in places if place.part == part]
        read = (one for one, about in table.items() if part in about.get("read", ()) and one != version)
        if any(all(seen.get(one) == seen[version] for seen in mine) for one in read):
            found.append(part)
    return found


def written(text: str, package: str, places: list[Place]) -> str:
    """Return a loader's YAML with the places of one package written again."""
    lines: list[str] = []
    part = file = ""
    for place in places:
        if place.part != part:
            part, file = place.part, ""
            lines.append(f"    {part}:")
        if place.file != file:
            file = place.file
            lines.append(f"      {file}:")
        by_code: dict[str, list[str]] = {}
        for version in sorted(place.seen, key=parse_version):
            by_code.setdefault(place.seen[version], []).append(version)
        seen = {code: " ".join(versions) for code, versions in by_code.items()}
        name = yamltext.flow(place.name)
        lines.append(f"        {name}: " + "{" + ", ".join(f'"{c}": "{v}"' for c, v in seen.items()) + "}")
    return yamltext.replaced(text, lines, "places", package)
