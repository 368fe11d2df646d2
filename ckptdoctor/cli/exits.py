"""Exit codes: 2 bad usage › 1 findings at or above ``--fail-on`` › 3 no verdict › 0."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..model import SEVERITIES, Report

DEBUG = "CKPTDOCTOR_DEBUG"
"""Environment variable that shows where an internal error happened."""

OK, FINDINGS, USAGE, NO_VERDICT = 0, 1, 2, 3


def exit_code(reports: Sequence[Report], fail_on: Collection[str]) -> int:
    """Return the code for ``reports``: the worst of them.

    ``fail_on`` holds severities, of which the mildest counts, and ``unknown``, which says nothing of them: errors
    count beside it unless ``never`` is said too.
    """
    words = fail_on if "never" in fail_on else ("error", *fail_on)
    places = [SEVERITIES.index(word) for word in words if word in SEVERITIES]
    counted = SEVERITIES[: max(places, default=-1) + 1]
    if any(finding.severity in counted for report in reports for finding in report.findings):
        return FINDINGS
    if "unknown" in fail_on and any(_unsure(report) or is_closed(report) for report in reports):
        return FINDINGS
    return NO_VERDICT if not reports or any(_blank(report) for report in reports) else OK


def worst_code(
    reports: Sequence[Report],
    fail_on: Sequence[Collection[str]],
    excused: Collection[str] = (),
    *,
    gate: bool = False,
) -> int:
    """Return the code for ``reports``, each with a ``fail_on`` of its own; those ``excused`` need no verdict.

    A ``gate`` lets nothing pass of which no loader could look at the weights.
    """
    codes = [exit_code([report], limit) for report, limit in zip(reports, fail_on, strict=True)]
    if gate:
        shut = [is_closed(report) and report.target not in excused for report in reports]
        codes = [FINDINGS if closed else code for code, closed in zip(codes, shut, strict=True)]
    codes = [
        OK if code == NO_VERDICT and report.target in excused and not report.crashes else code
        for code, report in zip(codes, reports, strict=True)
    ]
    return next((code for code in (FINDINGS, NO_VERDICT) if code in codes), OK if codes else NO_VERDICT)


def _blank(report: Report) -> bool:
    """A rule crashed, bytes could not be had, or there was nothing to check: silence would be a lie."""
    return bool(report.nothing or report.crashes) or any(skip.kind == "blind" for skip in report.skips)


def is_closed(report: Report) -> bool:
    """Whether a fault of the checkpoint keeps every loader from a verdict, as weights do that are only pickled."""
    faults = {finding.rule for finding in report.findings if finding.severity != "note"}
    return bool(report.verdicts) and all(
        verdict.outcome == "unknown" and not faults.isdisjoint(verdict.because) for verdict in report.verdicts
    )


def _unsure(report: Report) -> bool:
    """Whether a target that is asked for or installed has no verdict; what is only assumed turns no gate red."""
    return any(v.outcome == "unknown" and v.target.origin != "assumed" for v in report.verdicts)
