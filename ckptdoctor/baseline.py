"""Baselines: the findings a checkpoint already has, so that a gate stops only what is new.

A finding is known by its fingerprint (rule, module template and facts; no file names) and its number of victims: more
victims than before are new. Paths are relative to the baseline's own directory, so it can be committed and moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ._version import __version__
from .model import Finding, Report, Suppressed

SCHEMA = 1
REASON = "in the baseline"

Known: TypeAlias = Mapping[str, Mapping[str, "Entry"]]
"""Checkpoint → fingerprint → entry."""


class BaselineError(Exception):
    """A file that is no baseline."""


class Entry(NamedTuple):
    """One known finding."""

    rule: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    message: str


def read(file: Path) -> Known:
    """Return what a baseline holds. Raises BaselineError, or OSError when it cannot be read."""
    try:
        value = json.loads(file.read_bytes())
        if value["schema"] != SCHEMA:
            raise BaselineError(f"{file}: schema {value['schema']!r}, this version reads {SCHEMA}")
        return {
            name: {key: _entry(entry) for key, entry in entries.items()}
            for name, entries in value["checkpoints"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BaselineError(f"{file}: not a baseline of ckptdoctor ({error})") from error


def render(reports: Sequence[Report], file: Path, before: Known) -> str:
    """Return the text of a baseline that knows every finding of ``reports``, and still what ``before`` knew of others.

    Checkpoints of ``before`` that are gone are dropped.
    """
    folder = file.parent
    kept = {name: entries for name, entries in before.items() if (folder / name).exists()}
    for report in reports:
        known = [item.finding for item in report.suppressed if item.reason == REASON]
        known += [finding for cause in known for finding in cause.consequences]
        found = sorted((*report.every_finding, *known), key=lambda finding: (finding.rule, finding.message))
        kept[_name(report.target, file)] = {
            finding.fingerprint: Entry(finding.rule, finding.count, finding.message) for finding in found
        }
    checkpoints = {
        name: {key: entry._asdict() for key, entry in entries.items()}
        for name, entries in sorted(kept.items())
        if entries
    }
    value = {"schema": SCHEMA, "tool": f"ckptdoctor {__version__}", "checkpoints": checkpoints}
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def apply(report: Report, known: Known, file: Path) -> tuple[Report, tuple[Entry, ...]]:
    """Return ``report`` with its known findings set aside, and the entries whose finding is gone."""
    entries = known.get(_name(report.target, file), {})
    new: list[Finding] = []
    old: list[Suppressed] = []
    for finding in report.findings:
        if not _is_known(finding, entries):
            new.append(finding)
            continue
        # What another rule found because of a known cause is known with it; the same in a further module is not.
        rest = [f for f in finding.consequences if f.rule == finding.rule and not _is_known(f, entries)]
        kept = tuple(item for item in finding.consequences if item not in rest)
        old.append(Suppressed(finding._replace(consequences=kept), REASON))
        new += [rest[0]._replace(consequences=tuple(rest[1:]))] if rest else []
    seen = {finding.fingerprint for finding in report.every_finding}
    seen |= {f.fingerprint for item in report.suppressed for f in (item.finding, *item.finding.consequences)}
    gone = tuple(entry for key, entry in entries.items() if key not in seen)
    return report._replace(findings=tuple(new), suppressed=(*report.suppressed, *old)), gone


def _is_known(finding: Finding, entries: Mapping[str, Entry]) -> bool:
    entry = entries.get(finding.fingerprint)
    return entry is not None and finding.count <= entry.count


def _name(checkpoint: str, file: Path) -> str:
    return Path(os.path.relpath(checkpoint, file.parent)).as_posix()


def _entry(value: Mapping[str, Any]) -> Entry:
    return Entry(str(value["rule"]), int(value["count"]), str(value["message"]))
