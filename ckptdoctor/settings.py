"""Settings files: ``ckptdoctor.toml``, or ``[tool.ckptdoctor]`` in pyproject.toml. Read only where one exists.

Such a file decides what counts as wrong. So it is looked for only from the working directory up to the repository's
root, and the caller refuses one that lies in the checkpoint it would judge. What it may bring along (cards, and
plug-ins, which are code) counts only where the user named the file: a clone comes with settings nobody here has read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .model import SEVERITIES, Finding, Report, Severity, Suppressed

NAME, PROJECT = "ckptdoctor.toml", "pyproject.toml"
FAIL_ON = (*SEVERITIES, "unknown", "never")


class SettingsError(Exception):
    """A settings file that cannot be used: the message names file, line where it is known, and what was expected."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(f"{file}{'' if line is None else f':{line}'}: {message}")


class Section(NamedTuple):
    """What holds for some checkpoints."""

    targets: tuple[str, ...] = ()
    """As ``--for`` takes them; empty means the default ones."""
    select: tuple[str, ...] = ()
    ignore: Mapping[str, str] = {}
    """Rule or family → the reason why it is accepted."""
    severity: Mapping[str, Severity] = {}
    fail_on: tuple[str, ...] = ()


class Settings(NamedTuple):
    """A settings file, checked."""

    file: str = ""
    root: Path = Path()
    """Its directory: relative paths and patterns start here."""
    base: Section = Section()
    paths: tuple[tuple[str, Section], ...] = ()
    """Pattern → what differs for checkpoints whose path matches, later ones winning."""
    rules: tuple[Path, ...] = ()
    plugins: tuple[str, ...] = ()
    baseline: Path | None = None
    trusted: bool = False
    """The user named the file: ``rules`` and ``plugins`` may be used."""

    def at(self, checkpoint: str) -> Section:
        """Return what holds for the checkpoint at ``checkpoint``, relative to the working directory."""
        name = Path(os.path.relpath(checkpoint, self.root)).as_posix() if self.paths else ""
        section = self.base
        for pattern, other in self.paths:
            if fnmatchcase(name, pattern) or fnmatchcase(f"{name}/", pattern):
                section = _merged(section, other)
        return section

    @property
    def brings(self) -> tuple[str, ...]:
        """Which settings of the file would bring rules or code along: ``rules``, ``plugins``."""
        return tuple(key for key in ("rules", "plugins") if getattr(self, key))

    @property
    def named(self) -> Iterable[str]:
        """Every rule or family that the file names and that must exist.

        Where its own cards are left out, what it ignores or weighs may be one of them; to select one selects nothing.
        """
        whole = self.trusted or not self.brings
        for section in (self.base, *(section for _, section in self.paths)):
            yield from (*section.select, *((*section.ignore, *section.severity) if whole else ()))


def find(start: Path) -> Path | None:
    """Return the settings file for work in ``start``: there or in a parent, up to the root of the repository.

    Outside a repository only ``start`` itself is looked at: a file in a shared directory above is nobody's word.
    """
    folders = [start, *start.parents]
    top = next((place for place, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    for folder in folders[: top + 1]:
        if (folder / NAME).is_file():
            return folder / NAME
        project = folder / PROJECT
        if project.is_file() and b"[tool.ckptdoctor" in project.read_bytes():
            return project
    return None


def read(file: Path, shown: str = "") -> Settings:
    """Read and check a settings file. Raises SettingsError, or OSError when it cannot be read."""
    reader = _Reader(shown or str(file), file.read_bytes().decode("utf-8", "replace"))
    table = _toml(reader)
    if file.name == PROJECT:
        tool = table.get("tool")
        table = tool.get("ckptdoctor", {}) if isinstance(tool, dict) else {}
    root = Path(os.path.abspath(file)).parent  # noqa: PTH100  # patterns follow the path as it is spelled
    common: dict[str, Any] = {
        key: table.pop(key) for key in ("rules", "plugins", "baseline", "path") if key in table
    }
    paths = reader.table(common, "path")
    baseline = reader.text(common, "baseline")
    return Settings(
        file=reader.file,
        root=root,
        base=reader.section(table, ("rules", "plugins", "baseline", "path")),
        paths=tuple((pattern, reader.section(reader.table(paths, pattern))) for pattern in paths),
        rules=tuple(root / folder for folder in reader.texts(common, "rules")),
        plugins=reader.texts(common, "plugins"),
        baseline=root / baseline if baseline else None,
    )


def apply(report: Report, section: Section) -> Report:
    """Return ``report`` with the section's severities, and what it ignores set aside with the reason."""
    if not section.ignore and not section.severity:
        return report
    kept: list[Finding] = []
    aside = list(report.suppressed)
    for finding in report.findings:
        severity = _named(finding.rule, section.severity)
        reason = _named(finding.rule, section.ignore)
        found = finding._replace(severity=severity) if severity else finding
        inside = [item for item in found.consequences if not _named(item.rule, section.ignore)]
        found = found._replace(consequences=tuple(inside))
        if reason:
            aside.append(Suppressed(found, reason))
        else:
            kept.append(found)
    kept.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return report._replace(findings=tuple(kept), suppressed=tuple(aside))


def _named(rule: str, table: Mapping[str, Any]) -> Any:
    """Return what ``table`` says of a rule: by its own id, else by its family."""
    family = rule.split("/")[0]
    return next((table[key] for key in (rule, f"{family}/", family) if key in table), None)


def _merged(base: Section, other: Section) -> Section:
    return Section(
        other.targets or base.targets,
        other.select or base.select,
        {**base.ignore, **other.ignore},
        {**base.severity, **other.severity},
        other.fail_on or base.fail_on,
    )


def _toml(reader: _Reader) -> dict[str, Any]:
    # Python 3.10 has no TOML parser; tomli is the same one from PyPI, and no dependency for so rare a case.
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        toml = import_module(name)
    except ModuleNotFoundError:
        raise reader.error(
            "", "Python 3.10 cannot read TOML: pip install tomli, or use Python 3.11"
        ) from None
    try:
        table: dict[str, Any] = toml.loads(reader.source)
    except ValueError as error:  # its message ends in "(at line 3, column 7)" or "(at end of document)"
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else len(reader.source.splitlines())
        raise SettingsError(reader.file, number, f"not TOML: {error}") from error
    except RecursionError:
        raise SettingsError(reader.file, None, "nested too deeply: settings have a few levels") from None
    return table


class _Reader:
    """Takes values out of tables and blames the line of what is wrong."""

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.source = source

    def error(self, key: str, message: str) -> SettingsError:
        """Return the error about ``key``; its line only if the key occurs once, as TOML parsers tell no places."""
        start = re.compile(rf"[\s\[]*(?:path\.)?[\"']?{re.escape(key)}[\"']?\s*[]=.]")
        lines = [number for number, row in enumerate(self.source.splitlines(), 1) if start.match(row)]
        line = lines[0] if key and len(lines) == 1 else None
        return SettingsError(self.file, line, f"{key}: {message}" if key else message)

    def section(self, table: Mapping[str, Any], also: tuple[str, ...] = ()) -> Section:
        """Return the section in ``table``."""
        known = ("targets", "select", "ignore", "severity", "fail-on")
        for key in table:
            if key not in known:
                raise self.error(key, f"no such setting; expected one of {', '.join((*known, *also))}")
        listed = isinstance(table.get("fail-on"), list)
        fail_on = self.texts(table, "fail-on") if listed else (self.text(table, "fail-on"),)
        for word in filter(None, fail_on):
            if word not in FAIL_ON:
                raise self.error(
                    "fail-on", f"expected one of {', '.join(FAIL_ON)}, or a list of them, got {word!r}"
                )
        ignore, severity = self.table(table, "ignore"), self.table(table, "severity")
        for rule, reason in ignore.items():
            if not isinstance(reason, str) or not reason.strip():
                raise self.error(rule, 'expected a reason: "RULE" = "why this is fine here"')
        for rule, word in severity.items():
            if word not in SEVERITIES:
                raise self.error(rule, f"expected one of {', '.join(SEVERITIES)}, got {word!r}")
        return Section(
            self.texts(table, "targets"),
            self.texts(table, "select"),
            ignore,
            severity,
            tuple(filter(None, fail_on)),
        )

    def table(self, table: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return a table, empty when absent."""
        value = table.get(key, {})
        if not isinstance(value, dict):
            hint = ': each entry is "RULE" = "the reason"' if key == "ignore" else ""
            raise self.error(key, f"expected a table{hint}")
        return value

    def texts(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """Return a list of texts, empty when absent."""
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.error(key, "expected a list of texts")
        return tuple(value)

    def text(self, table: Mapping[str, Any], key: str) -> str:
        """Return a text, empty when absent."""
        value = table.get(key, "")
        if not isinstance(value, str):
            raise self.error(key, "expected a text")
        return value
