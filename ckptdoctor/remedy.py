"""What to install so that an environment goes together: exact releases where they are known, else specifiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from .environment import Problem, problems, relations
from .releases import releases
from .ruledata import Rulebook, parse_version


class Remedy(NamedTuple):
    """The way out."""

    install: tuple[str, ...]
    """What to give to ``pip install``, each ``package==version`` or with a specifier."""
    stuck: tuple[Problem, ...]
    """Problems that no version known here solves."""


def remedy(installed: Mapping[str, str], rulebook: Rulebook) -> Remedy:
    """Change as little as can be: what is too old first, then what is too new, else the package that asks.

    A package given as a specifier will have a version that only pip knows, so its own wishes count no more.
    """
    return _Search(installed, rulebook).run()


class _Search:
    """The way from an environment to one that goes together, a package at a time."""

    def __init__(self, installed: Mapping[str, str], rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._now = dict(installed)
        self._asked: dict[str, str] = {}
        """Package → what to ask pip for."""

    def run(self) -> Remedy:
        """Return what to install, and what nothing solves."""
        stuck: list[Problem] = []
        while left := [p for p in self._open(self._now) if p not in stuck]:
            problem = min(left, key=_rank)
            change = next(filter(None, (self._change(name, problem) for name in _pair(problem))), None)
            if change is None:
                stuck.append(problem)
                continue
            package, spec = change
            self._asked[package] = spec
            stuck.clear()  # what one package makes impossible, another version of it may allow
            if spec.startswith("=="):
                self._now[package] = spec[2:]
        return Remedy(self._install(), tuple(stuck))

    def _install(self) -> tuple[str, ...]:
        asked = self._asked
        exact = {name: v for name, v in self._now.items() if asked.get(name, "==").startswith("==")}
        final = {
            name: spec if spec.startswith("==") else self._specifier(name, exact)
            for name, spec in asked.items()
        }
        return tuple(f"{name}{spec}" for name, spec in final.items() if spec is not None)

    def _open(self, now: Mapping[str, str]) -> list[Problem]:
        """Return the problems between packages of known version: what is asked for loosely is up to pip."""
        loose = self._loose()
        return [
            problem for problem in problems(now, self._rulebook) if not loose.intersection(_pair(problem))
        ]

    def _loose(self) -> set[str]:
        return {name for name, spec in self._asked.items() if not spec.startswith("==")}

    def _change(self, package: str, problem: Problem) -> tuple[str, str] | None:
        """Return what to ask for to solve ``problem`` by changing ``package``, None when that cannot be."""
        if package in self._asked:
            return None
        version = self._release(package)
        if package == problem.relation.package and not _newer(version, self._now[package]):
            return None  # going back with the one that asks would undo what somebody chose
        if version:
            then = self._open({**self._now, package: version})
            return (
                None if any(_pair(other) == _pair(problem) for other in then) else (package, f"=={version}")
            )
        if releases(package, self._rulebook):
            return None
        loose = self._loose()
        spec = self._specifier(package, {name: v for name, v in self._now.items() if name not in loose})
        return None if spec is None else (package, spec)

    def _release(self, package: str) -> str:
        """Return the newest known release that goes with the rest, else the newest that the rest is content with.

        In the second case pip changes what the release itself asks for.
        """
        content = ""
        for version in sorted(releases(package, self._rulebook), key=parse_version, reverse=True):
            wrong = [p for p in self._open({**self._now, package: version}) if package in _pair(p)]
            if not wrong:
                return version
            if not content and all(problem.relation.other != package for problem in wrong):
                content = version
        return content

    def _specifier(self, package: str, installed: Mapping[str, str]) -> str | None:
        """Return what all others are content with as one specifier, None when nothing can be."""
        every = relations(installed, self._rulebook)
        asked = (relation.specs[-1] for relation in every if relation.other == package)
        return tightest(clause for spec in asked for clause in SpecifierSet(spec))


def _pair(problem: Problem) -> tuple[str, str]:
    return problem.relation.other, problem.relation.package


def _rank(problem: Problem) -> int:
    """Order: what is too old, what is not there (others may change what it has to be), what is too new."""
    if not problem.found:
        return 1
    found = Version(problem.found)
    clauses = SpecifierSet(problem.relation.specs[-1])
    broken = [clause for clause in clauses if not clause.contains(found, prereleases=True)]
    return 2 if any(c.operator[0] == "<" or Version(c.version) < found for c in broken) else 0


def _newer(version: str, than: str) -> bool:
    return bool(version) and parse_version(version) > parse_version(than)


def tightest(clauses: Iterable[Specifier]) -> str | None:
    """Return the clauses that decide (none: ""), None when no version satisfies them all."""
    every = list({str(clause): clause for clause in sorted(clauses, key=str)}.values())
    bounds = {Version(clause.version.removesuffix(".*")) for clause in every}
    # Between two bounds nothing changes: look at each bound, just above it, and below them all.
    points = {
        *bounds,
        *(Version(f"{bound.public}.post1") for bound in bounds if not bound.is_postrelease),
        Version("0"),
    }
    wanted = SpecifierSet(",".join(map(str, every)))
    fitting = {point for point in points if wanted.contains(point, prereleases=True)}
    if not fitting:
        return None
    kept = list(every)
    for clause in sorted(every, key=str):
        rest = [other for other in kept if other is not clause]
        loose = SpecifierSet(",".join(map(str, rest)))
        if {point for point in points if loose.contains(point, prereleases=True)} == fitting:
            kept = rest
    order = sorted(kept, key=lambda c: (c.operator == "!=", c.operator.startswith("<"), str(c)))
    return ",".join(map(str, order))
