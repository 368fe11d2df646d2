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
        verdict, report = self.verdict, self.report
        if report.nothing:
            return _line(f"{report.target}: {report.nothing}")
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
        return _line(f"{words}{why}{rules}{says}")


def _line(text: str) -> str:
    """Return ``text`` with everything unprintable escaped: it holds names from the checkpoint and goes to a log."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
