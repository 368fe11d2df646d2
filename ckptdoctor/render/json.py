"""Report → JSON (schema 1, ``report.schema.json``). Within schema 1 keys may be added, never changed."""

from __future__ import annotations

from collections.abc import Sequence

from .._version import __version__
from ..folding import Range, ranges
from ..model import BytesRead, Finding, Fix, LoaderOutcome, Location, Report, Verdict
from . import Page
from .safe import dumps

SCHEMA = 1


def render(reports: Sequence[Report], page: Page) -> str:
    """Return one report as an object, several under ``reports``; ASCII, so no control character leaves."""
    several = len(reports) != 1
    value = {"schema": SCHEMA, "reports": [as_dict(r) for r in reports]} if several else as_dict(reports[0])
    return dumps(value)


def as_dict(report: Report) -> dict[str, object]:
    """Return ``report`` as JSON values."""
    value: dict[str, object] = {
        "schema": SCHEMA,
        "tool": f"ckptdoctor {__version__}",
        "rulebook": report.rulebook,
        "target": report.target,
        "base": report.base,
        "revision": report.revision,
        "schemes": list(report.schemes),
        "weights": report.weights,
        "bytes_read": dict(zip(BytesRead._fields, report.bytes_read, strict=True)),
        "rules_run": report.rules_run,
        "nothing": report.nothing or None,
        "findings": [_finding(finding) for finding in report.findings],
        "verdicts": [_verdict(verdict) for verdict in report.verdicts],
        "suppressed": [_finding(item.finding) | {"reason": item.reason} for item in report.suppressed],
        "skips": [skip._asdict() for skip in report.skips],
        "crashes": [crash._asdict() for crash in report.crashes],
    }
    if any(verdict.target.sweep for verdict in report.verdicts):
        value["ranges"] = [_range(item) for item in ranges(report.verdicts)]
    if report.unchanged is not None:
        same = report.unchanged
        value["unchanged"] = {"findings": same.findings, "verdicts": [_verdict(v) for v in same.verdicts]}
    return value


def _range(item: Range) -> dict[str, object]:
    verdict, target = item.verdict, item.verdict.target
    return {
        "for": target.sweep,
        "loader": target.loader,
        "from": item.verdicts[0].target.version,
        "to": target.version,
        "releases": len(item.verdicts),
        "with": {name: {"from": first, "to": last} for name, (first, last) in item.uses.items()},
        "options": dict(target.options),
        "outcome": verdict.outcome,
        "precision": verdict.precision,
        "because": list(verdict.because),
        "reason": verdict.reason or None,
        "evidence": item.evidence,
        "observed": [v.target.version for v in item.verdicts if v.evidence == "observed"],
        "needs": list(verdict.needs),
    }


def _finding(finding: Finding) -> dict[str, object]:
    return _alone(finding) | {"consequences": [_alone(item) for item in finding.consequences]}


def _alone(finding: Finding) -> dict[str, object]:
    fix = finding.fix
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "message": finding.message,
        "subject": finding.subject or None,
        "count": finding.count,
        "locations": [_location(place) for place in finding.locations],
        "facts": dict(finding.facts),
        "outcomes": [_outcome(item) for item in finding.outcomes],
        "fix": None if fix is None else _fix(fix),
        "fingerprint": finding.fingerprint,
    }


def _fix(fix: Fix) -> dict[str, object]:
    """``command``: what to type, where no edit is known; else null."""
    return {
        "title": fix.title,
        "safety": fix.safety,
        "command": fix.title if fix.safety == "manual" else None,
    }


def _location(place: Location) -> dict[str, object]:
    return place._asdict()


def _outcome(item: LoaderOutcome) -> dict[str, object]:
    return {
        "target": item.target.label,
        "loader": item.target.loader,
        "version": item.target.version,
        "outcome": item.outcome,
        "error": item.error,
        "evidence": item.evidence,
    }


def _verdict(verdict: Verdict) -> dict[str, object]:
    target = verdict.target
    return {
        "target": target.label,
        "loader": target.loader,
        "version": target.version,
        "with": {name: version for name, version in target.versions.items() if name != target.loader},
        "options": dict(target.options),
        "device": target.device,
        "origin": target.origin,
        "outcome": verdict.outcome,
        "precision": verdict.precision,
        "because": list(verdict.because),
        "reason": verdict.reason or None,
        "evidence": verdict.evidence,
        "needs": list(verdict.needs),
        "sampled": verdict.sampled,
        "uses": list(verdict.uses),
        "tensor_parallel": None if verdict.tensor_parallel is None else list(verdict.tensor_parallel),
        "weights": verdict.weights,
        "compared": {
            name: {"state": part.state, "reason": part.reason or None}
            for name, part in verdict.compared.items()
        },
    }
