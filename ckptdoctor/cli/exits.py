"""Exit codes: 2 bad usage › 1 findings at or above ``--fail-on`` › 3 no verdict › 0."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..model import SEVERITIES, Report

DEBUG = "CKPTDOCTOR_DEBUG"
"""Environment variable that shows where an internal error happened."""

OK, FINDINGS, USAGE, NO_VERDICT, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code(reports: Sequence[Report], fail_on: str) -> int:
    """Return the code for ``reports``: the worst of them; ``fail_on`` is a severity or ``never``."""
    counted = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on in SEVERITIES else ()
    if any(finding.severity in counted for report in reports for finding in report.findings):
        return FINDINGS
    return NO_VERDICT if not reports or any(_blank(report) for report in reports) else OK


def worst_code(reports: Sequence[Report], fail_on: Sequence[str], excused: Collection[str] = ()) -> int:
    """Return the code for ``reports``, each with a ``fail_on`` of its own; those ``excused`` need no verdict."""
    codes = [exit_code([report], limit) for report, limit in zip(reports, fail_on, strict=True)]
    codes = [
        OK if code == NO_VERDICT and report.target in excused and not report.crashes else code
        for code, report in zip(codes, reports, strict=True)
    ]
    return next((code for code in (FINDINGS, NO_VERDICT) if code in codes), OK if codes else NO_VERDICT)


def _blank(report: Report) -> bool:
    """A rule crashed, bytes could not be had, or there was nothing to check: silence would be a lie."""
    return bool(report.nothing or report.crashes) or any(skip.kind == "blind" for skip in report.skips)
