"""What every report keeps to, whatever the checkpoint: each function returns what is broken, "" when nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import get_args

import jsonschema

from ckptdoctor.cli.exits import exit_code
from ckptdoctor.model import MAX_LOCATIONS, OUTCOMES, SEVERITIES, Finding, Report, Target, Verdict
from ckptdoctor.model.words import RANK, Evidence, Safety, SkipKind
from ckptdoctor.render.json import as_dict

from .bases import ROOT

EVIDENCE, KINDS, SAFETY = map(frozenset, (get_args(Evidence), get_args(SkipKind), get_args(Safety)))
ACTING = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|##\[|^\s*::(?!error|warning|notice)", re.M
)
"""What neither a terminal nor a runner may be given (GitHub's own three commands are ours to write)."""


def of_report(report: Report, targets: Sequence[Target]) -> str:
    """Look at words and at what the parts of a report say of each other."""
    if report.crashes:
        return f"crashed in {report.crashes[0].rule}: {report.crashes[0].error}"
    if [verdict.target for verdict in report.verdicts] != list(targets):
        return "other verdicts than targets"
    if exit_code([report], {"error"}) not in (0, 1, 3):
        return "an exit status of its own"
    if any(skip.kind not in KINDS for skip in report.skips):
        return "a kind of skip of its own"
    limits = {verdict.target.label: RANK[verdict.outcome] for verdict in report.verdicts}
    found = (_of_finding(finding, limits) for finding in report.findings)
    return next(filter(None, (*found, *map(_of_verdict, report.verdicts))), "")


def _of_finding(finding: Finding, limits: Mapping[str, int]) -> str:
    """``limits``: target → rank of its verdict, which no outcome may be worse than."""
    if finding.severity not in SEVERITIES or not finding.message or len(finding.locations) > MAX_LOCATIONS:
        return f"{finding.rule} is no finding"
    if finding.fix is not None and finding.fix.safety not in SAFETY:
        return f"{finding.rule}: a fix that is {finding.fix.safety}"
    for item in finding.outcomes:
        if item.evidence not in EVIDENCE or RANK[item.outcome] < limits[item.target.label]:
            return f"{finding.rule}: {item.outcome} by {item.evidence}, but the verdict is milder"
    return ""


def _of_verdict(verdict: Verdict) -> str:
    if verdict.outcome not in OUTCOMES or verdict.evidence not in EVIDENCE:
        return f"{verdict.outcome} by {verdict.evidence} is no verdict"
    if verdict.outcome != "ok" and not verdict.reason:
        return f"{verdict.outcome} without a reason"
    return "ok, but it rests on nothing" if verdict.outcome == "ok" and not verdict.compared else ""


def of_page(form: str, text: str) -> str:
    """Look at what would be written: nothing in it acts, and JSON can be read by any reader."""
    text.encode()  # raises where half a pair is left
    if form in ("json", "sarif"):
        if not text.isascii():
            return f"{form} is not ASCII"
        json.dumps(json.loads(text, parse_constant=_no_number), ensure_ascii=False).encode()
        return ""
    found = ACTING.search(text)
    return f"{form} holds {found[0]!r}" if found else ""


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


@cache
def _schema() -> jsonschema.Draft202012Validator:
    text = (ROOT / "ckptdoctor/report.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(
        json.loads(text)["$defs"]["report"] | {"$defs": json.loads(text)["$defs"]}
    )


def of_schema(text: str) -> str:
    """Hold a report in JSON against the schema that the package ships."""
    error = next(_schema().iter_errors(json.loads(text)), None)
    return f"not of the schema: {error.json_path}: {error.message[:200]}" if error else ""


def of_two(one: Report, other: Report) -> str:
    """Compare what two runs said of the same input."""
    first, second = as_dict(one), as_dict(other)
    differing = [key for key in first if repr(first[key]) != repr(second[key])]
    return f"another report the second time: {differing}" if differing else ""
