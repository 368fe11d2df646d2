"""What ``Report.raise_for`` raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Report, Verdict


class CheckpointError(Exception):
    """A loader would not serve this checkpoint as it is meant; the message says which, why, and what it raises."""

    def __init__(self, report: Report, verdict: Verdict) -> None:
        super().__init__(report, verdict)
        self.report = report
        self.verdict = verdict
        """The worst verdict about the loader asked for."""

    def __str__(self) -> str:
        """``./model fails in vllm==0.32.0: … (bnb/missing-companion)``, one line, control characters escaped."""
        from .render.safe import clean

        verdict, report = self.verdict, self.report
        if report.nothing:
            return clean(f"{report.target}: {report.nothing}")
        rules = f" ({', '.join(verdict.because)})" if verdict.because else ""
        why = f": {verdict.reason}" if verdict.reason else ""
        said = [
            item.error
            for finding in report.findings
            for item in finding.outcomes
            if item.error and item.target == verdict.target and item.outcome == verdict.outcome
        ]
        says = f"; the loader would say: {said[0]}" if said else ""
        how = "is" if verdict.outcome in ("corrupt", "wrong-precision") else ""
        words = " ".join(filter(None, (report.target, how, verdict.outcome, "in", verdict.target.label)))
        return clean(f"{words}{why}{rules}{says}")
