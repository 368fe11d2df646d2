"""Do the packages installed side by side go together? Their names and versions are read, nothing is imported.

What they need of each other comes from three places: what is known to break (``rules/environment.yaml``), which
plug-in fits which loader (``rules/loaders``), and what released packages ask for in their metadata
(``rules/requirements.yaml``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .model import Evidence
from .ruledata import Rulebook, matches, parse_version
from .targets import newest_fitting


class Relation(NamedTuple):
    """What one installed package needs of another."""

    package: str
    version: str
    other: str
    specs: tuple[str, ...]
    """PEP 440 specifiers, any of which will do: two where the version lies between two that were read."""
    why: str = ""
    error: str = ""
    """What is raised otherwise, as far as that is known."""
    evidence: Evidence = "source"
    references: tuple[str, ...] = ()
    declared: bool = False
    """The package's own metadata asks for it, so that it is broken without the other one."""

    def holds(self, version: str) -> bool:
        """Whether ``version`` of the other package will do."""
        return any(_set(spec).contains(version, prereleases=True) for spec in self.specs)


class Problem(NamedTuple):
    """A relation that does not hold."""

    relation: Relation
    found: str
    """The version installed, "" where the package is missing."""


class Hint(NamedTuple):
    """A package that some checkpoints call for and that is not there."""

    package: str
    version: str
    other: str
    format: str
    install: str
    """What to give to ``pip install``."""


class Environment(NamedTuple):
    """What is installed, and what does not go together."""

    packages: Mapping[str, str]
    """Package → version, in the order of the rulebook."""
    problems: tuple[Problem, ...]
    hints: tuple[Hint, ...]


def examine(installed: Mapping[str, str], rulebook: Rulebook) -> Environment:
    """Judge package → version as ``targets.installed`` returns it; packages that nobody here knows do not count."""
    data = rulebook.environment()
    here = {
        name: installed[name] for name in data["packages"] if name in installed and _valid(installed[name])
    }
    return Environment(here, tuple(problems(here, rulebook)), tuple(_hints(here, rulebook)))


def problems(installed: Mapping[str, str], rulebook: Rulebook) -> Iterator[Problem]:
    """Yield every relation that does not hold; of several between the same two, the first (it has a reason)."""
    told = set()
    for relation in relations(installed, rulebook):
        pair = relation.package, relation.other
        found = installed.get(relation.other, "")
        wrong = not relation.holds(found) if found else relation.declared
        if wrong and pair not in told:
            told.add(pair)
            yield Problem(relation, found)


def relations(installed: Mapping[str, str], rulebook: Rulebook) -> Iterator[Relation]:
    """Yield what each installed package needs of others: known breakage, fitting plug-ins, declared requirements."""
    data = rulebook.environment()
    for row in data["breaks"]:
        version = installed.get(row["package"])
        for span in row["spans"] if version else ():
            if _set(span["versions"]).contains(version or "", prereleases=True):
                error = row.get("error", "").replace("{minimum}", span["spec"].removeprefix(">="))
                words = row["why"], error, row["evidence"], tuple(row["references"])
                yield Relation(row["package"], version or "", row["with"], (span["spec"],), *words)
    for loader, facts in rulebook.loaders.items():
        for row in facts.get("fits", ()):
            version = installed.get(loader)
            if version and matches(row["versions"], version):
                spec = ",".join(sign + ".".join(map(str, bound)) for sign, bound in row["spec"])
                yield Relation(
                    loader, version, row["package"], (spec,), row.get("why", ""), "", row["evidence"]
                )
    for package in data["requirements"]:
        if package in installed:
            yield from _declared(package, installed[package], rulebook)


def _declared(package: str, version: str, rulebook: Rulebook) -> tuple[Relation, ...]:
    """Return what a version asks for; between two versions read, what either of them would be content with."""
    known = rulebook.derived(_asked_before)
    if (package, version) not in known:
        rows = rulebook.environment()["requirements"][package]
        known[package, version] = tuple(_asked(package, version, rows))
    return known[package, version]


def _asked_before(rulebook: Rulebook) -> dict[tuple[str, str], tuple[Relation, ...]]:
    """Return where to keep what versions ask for: a remedy asks again after each change."""
    return {}


def _asked(package: str, version: str, rows: list[dict[str, Any]]) -> Iterator[Relation]:
    for other in dict.fromkeys(row["package"] for row in rows):
        own = [row for row in rows if row["package"] == other]
        within = [row for row in own if _set(row["versions"]).contains(version, prereleases=True)]
        if within:
            yield Relation(package, version, other, (within[0]["spec"],), declared=True)
            continue
        for before, after in pairwise(own):
            if _bounds(before)[1] < Version(version) < _bounds(after)[0]:
                specs = before["spec"], after["spec"]
                yield Relation(package, version, other, specs, evidence="assumed", declared=True)


def raised(text: str, rulebook: Rulebook) -> tuple[Relation, ...]:
    """Return what a message says about installed versions, where it is one that is known to; versions as intervals."""
    found = []
    for row in rulebook.environment()["breaks"]:
        words = row.get("error", "").partition(": ")[2].partition("{minimum}")[0]
        if words and words in text:
            specs = tuple(span["spec"] for span in row["spans"])
            about = row["why"], row["error"], row["evidence"], tuple(row["references"])
            found.append(Relation(row["package"], row["spans"][0]["versions"], row["with"], specs, *about))
    return tuple(found)


def _hints(installed: Mapping[str, str], rulebook: Rulebook) -> Iterator[Hint]:
    data = rulebook.environment()
    plugins = [
        {"package": loader, "with": row["package"], "format": row["method"], "spec": row["versions"]}
        for loader, facts in rulebook.loaders.items()
        for row in facts.get("plugins", ())
        if row["package"] in data["packages"]
    ]
    for row in [*data["for_checkpoints"], *plugins]:
        package, other = row["package"], row["with"]
        version = installed.get(package)
        if version is None or other in installed:
            continue
        if "spec" in row:
            fitting = newest_fitting(package, version, other, rulebook)
            if matches(row["spec"], version) and fitting:
                yield Hint(package, version, other, row["format"], f"{other}=={fitting}")
        elif _set(row["versions"]).contains(version, prereleases=True):
            bounds = [
                spec
                for r in relations(installed, rulebook)
                if r.other == other
                for spec in r.specs[-1:]
                if spec
            ]
            yield Hint(package, version, other, row["format"], other + ",".join(dict.fromkeys(bounds)))


def _bounds(row: Mapping[str, Any]) -> tuple[Version, Version]:
    versions = sorted(Version(clause.version) for clause in _set(row["versions"]))
    return versions[0], versions[-1]


def _valid(version: str) -> bool:
    try:
        parse_version(version)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _set(spec: str) -> SpecifierSet:
    return SpecifierSet(spec)
