"""Take one release into ``rules/loaders``: its date, what of it is known to be as before, its lists, what it needs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ckptdoctor.rulebook.document import load
from ckptdoctor.ruledata import parse_version
from scripts import requirements
from scripts.release import places, registries, yamltext
from scripts.release.package import Package
from scripts.release.places import Change

REGISTRY = "registry"
"""The part that lists are read in; they are read by this program, in every release."""


class Taken(NamedTuple):
    """A loader's YAML with the release in it, and what was found."""

    text: str
    changes: list[Change]
    read: list[str]
    lists: dict[str, registries.Updated]


def file_of(package: str, folder: Path) -> Path:
    """Return the loader's YAML that lists releases of ``package``. Raises KeyError when none does."""
    for path in sorted(folder.glob("*.yaml")):
        if package in load(path, path.name).value["releases"]:
            return path
    raise KeyError(package)


def take(path: Path, package: Package, looked: Sequence[str], day: str) -> Taken:
    """Return the YAML at ``path`` with a release in it; ``looked`` are parts that a person has compared.

    A part is read where all its places are as in a release before that was read, or where a person says so.
    """
    text, data = path.read_text(encoding="utf-8"), load(path, path.name).value
    table = data["releases"][package.name]
    seen = places.read(places.of(data, package.name), package)
    changed = list(places.changes(seen, package.version))
    if seen:
        text = places.written(text, package.name, seen)
    lists: dict[str, registries.Updated] = {}
    for registry in registries.of_package(package.name):
        found = registry.update(text, data, registry.table, registry.names(package), package)
        lists[registry.table], text = found, found.text
    known = {*table.get(package.version, {}).get("read", ()), *looked}
    known |= {*places.unchanged_parts(seen, package.version, table), *([REGISTRY] if lists else [])}
    read = [part for part in _order(data, package.name) if part in known]
    about = {"date": day, **({"read": read} if read else {})}
    text = with_release(text, package.name, package.version, {**table.get(package.version, {}), **about})
    return Taken(text, changed, read, lists)


def with_release(text: str, package: str, version: str, about: dict[str, Any]) -> str:
    """Return a loader's YAML with what is known of one release put in its place among the others."""
    begin, end = yamltext.block(text, "releases", package)
    lines = [line for line in text.splitlines()[begin:end] if not line.startswith(f'    "{version}":')]
    listed = ((n, line.split('"')[1]) for n, line in enumerate(lines) if line.startswith('    "'))
    later = (n for n, other in listed if parse_version(other) > parse_version(version))
    lines.insert(next(later, len(lines)), *yamltext.release_lines({version: about}))
    return yamltext.replaced(text, lines, "releases", package)


def _order(data: dict[str, Any], package: str) -> list[str]:
    """Return the parts of a package in the order in which the release that was read most names them."""
    most = max((about.get("read", ()) for about in data["releases"][package].values()), key=len, default=())
    return list(dict.fromkeys([*most, *data.get("places", {}).get(package, ()), REGISTRY]))


def take_requirements(package: Package) -> list[str]:
    """Write what the release asks of other packages into rules/requirements.yaml, and return the lines that changed."""
    spelled = package.name
    read = requirements.versions_read()
    if spelled not in read:
        return []
    before = requirements.FILE.read_text(encoding="utf-8")
    asks = package.requires
    if package.distribution != package.name:  # a build for CPUs asks for another torch
        with tempfile.TemporaryDirectory() as folder:
            asks = requirements.metadata_of(spelled, package.version, Path(folder))
    after = requirements.with_release(before, spelled, package.version, asks)
    requirements.FILE.write_text(after, encoding="utf-8")
    if package.version not in read[spelled]:
        requirements.add_read(spelled, package.version)
    old, new = before.splitlines(), after.splitlines()
    return [f"- {line[4:]}" for line in old if line not in new] + [
        f"+ {line[4:]}" for line in new if line not in old
    ]
