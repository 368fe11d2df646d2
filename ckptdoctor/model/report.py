"""What a run says of one checkpoint, and what is raised for one that no loader should be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from .findings import Crash, Finding, Skip, Suppressed
from .plaintext import clean, inert
from .target import Target
from .words import RANK, Evidence, Outcome


class Aspect(NamedTuple):
    """Whether one part of a checkpoint was compared with what a loader needs."""

    state: Literal["yes", "no", "not-applicable"]
    reason: str = ""
    """Why not, or what is left out of a ``yes``."""


class Verdict(NamedTuple):
    """What one loader at one version makes of the checkpoint."""

    target: Target
    outcome: Outcome
    precision: str | None
    because: tuple[str, ...]
    evidence: Evidence
    needs: tuple[str, ...] = ()
    sampled: bool = False
    reason: str = ""
    """One short clause for people: why the outcome is not ``ok``, or why it is ``unknown``."""
    uses: tuple[str, ...] = ()
    """Packages of the target beside the loader itself that had a say: a plug-in only where its method is used."""
    tensor_parallel: tuple[int, ...] | None = None
    """Numbers of devices (up to 64) that the loader can split the model over; None where it is not known."""
    weights: int | None = None
    """Bytes of weights that one device holds once loaded; None where nothing is held or it is not known."""
    compared: Mapping[str, Aspect] = {}
    """container, index, config, quantisation, names, shapes, tokenizer: what the verdict rests on."""


class Unchanged(NamedTuple):
    """What a comparison of versions leaves out, as it is the same in all of them."""

    verdicts: tuple[Verdict, ...] = ()
    findings: int = 0


class BytesRead(NamedTuple):
    """How much of the checkpoint was read, in bytes."""

    headers: int = 0
    json: int = 0
    micro: int = 0


class Report(NamedTuple):
    """Everything a run found out about one checkpoint."""

    target: str
    """The checkpoint as the user typed it."""
    findings: tuple[Finding, ...]
    """One for each cause; what follows from it is inside."""
    verdicts: tuple[Verdict, ...]
    skips: tuple[Skip, ...]
    crashes: tuple[Crash, ...]
    schemes: tuple[str, ...]
    bytes_read: BytesRead
    weights: int = 0
    """Bytes of tensor data on disk."""
    rulebook: str = ""
    revision: str | None = None
    rules_run: int = 0
    nothing: str = ""
    """Why there was nothing to check, else empty."""
    suppressed: tuple[Suppressed, ...] = ()
    """Findings that settings or a baseline accept. Verdicts still tell what the loaders do about them."""
    unchanged: Unchanged | None = None
    """Set where ``findings`` and ``verdicts`` are only those that differ between versions of a loader."""
    base: str | None = None
    """The model that an adapter was checked against, as the user typed it."""

    @property
    def every_finding(self) -> tuple[Finding, ...]:
        """The causes and all that follows from them, each cause before its consequences."""
        return tuple(item for cause in self.findings for item in (cause, *cause.consequences))

    def raise_for(self, loader: str, *, unknown: bool = False) -> None:
        """Raise CheckpointError if ``loader`` (``"vllm"``, or a target's whole label) would not serve this checkpoint.

        It raises for the outcomes fails, fails-late, corrupt and wrong-precision, and where there is nothing to
        check. ``unknown`` passes, since abstaining is no reason to keep a server down, unless ``unknown`` is true.
        Raises ValueError when no verdict of the report is about ``loader``.
        """
        verdicts = [v for v in self.verdicts if loader in (v.target.loader, v.target.label)]
        if not verdicts:
            known = ", ".join(verdict.target.label for verdict in self.verdicts) or "none"
            raise ValueError(f"no verdict about {loader!r}; this report has: {known}")
        worst_first = sorted(verdicts, key=lambda verdict: RANK[verdict.outcome])
        refused = RANK["unknown"] + (1 if unknown else 0)
        if self.nothing or RANK[worst_first[0].outcome] < refused:
            raise CheckpointError(self, worst_first[0])


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
            return inert(clean(f"{report.target}: {report.nothing}"))
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
        return inert(clean(f"{words}{why}{rules}{says}"))
