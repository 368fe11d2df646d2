"""What to change, in which order, proven on an overlay before anything is written.

Every repair is tried alone on top of those accepted so far: the whole check runs again, and it is accepted only if the
finding is gone, nothing else came up, and no loader is worse off. So repairs cannot conflict, and what one of them
brings to light is repaired in its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..checkpoint import load
from ..checkpoint.gc_paused import gc_paused
from ..checkpoint.nouns import Checkpoint
from ..engine import examine
from ..model import OUTCOMES, Finding, Report, Target, Verdict
from ..ruledata import Rulebook
from ..sources.base import Source
from .changes import Change
from .edits import overlaid, to_changes
from .folding import folded
from .headers import Refused

MAX_STEPS = 100
"""Repairs tried in one run; a checkpoint that needs more is better made again."""


class Step(NamedTuple):
    """One repair that was accepted."""

    finding: Finding
    changes: tuple[Change, ...]


class Rejected(NamedTuple):
    """One repair that was not made."""

    finding: Finding
    reason: str


class Plan(NamedTuple):
    """All that would be done, and what it leads to."""

    before: Report
    after: Report
    steps: tuple[Step, ...]
    rejected: tuple[Rejected, ...]
    revealed: tuple[Finding, ...]
    """Findings that only a repaired file brings to light."""
    changes: tuple[Change, ...]
    """What the steps come down to, by the names on disk."""


class _State(NamedTuple):
    """A checkpoint at one point of the plan."""

    ckpt: Checkpoint
    report: Report

    @property
    def sight(self) -> tuple[object, ...]:
        """What can be looked at: once this changes, rules find what they could not have found before."""
        readable = [name for name, shard in self.ckpt.shards.items() if shard.readable]
        valid = [name for name, doc in self.ckpt.docs.items() if doc.value is not None]
        return (tuple(readable), tuple(valid), bool(self.ckpt.index))


class Planner:
    """Finds the repairs for the findings of one checkpoint."""

    def __init__(
        self,
        source: Source,
        targets: Sequence[Target],
        rulebook: Rulebook,
        *,
        unsafe: bool = False,
        rules: Sequence[str] = (),
        metadata_only: bool = False,
    ) -> None:
        self._source = source
        self._targets = targets
        self._rulebook = rulebook
        self._unsafe = unsafe
        self._rules = rules
        self._metadata_only = metadata_only

    def plan(self) -> Plan:
        """Return the plan. A defective checkpoint never raises; OSError is for a source that cannot be read."""
        first = state = self._look(())
        done: tuple[Change, ...] = ()
        steps: list[Step] = []
        rejected: list[Rejected] = []
        revealed: dict[str, Finding] = {}
        tried: set[str] = set()
        while len(tried) < MAX_STEPS and (finding := self._next(state.report, tried)) is not None:
            tried.add(finding.fingerprint)
            result = self._try(state, finding, done)
            if isinstance(result, Rejected):
                same = (finding.rule, result.reason)
                if same not in [(item.finding.rule, item.reason) for item in rejected]:
                    rejected.append(result)
                continue
            changes, after = result
            known = {item.fingerprint for item in (*first.report.every_finding, *state.report.every_finding)}
            revealed |= {f.fingerprint: f for f in after.report.every_finding if f.fingerprint not in known}
            steps.append(Step(finding, changes))
            done, state = (*done, *changes), after
        return Plan(
            first.report, state.report, tuple(steps), tuple(rejected), tuple(revealed.values()), folded(done)
        )

    def _next(self, report: Report, tried: set[str]) -> Finding | None:
        for finding in report.every_finding:
            fix = finding.fix
            if fix is None or not fix.edits or finding.fingerprint in tried:
                continue
            if fix.safety == "unsafe" and not self._unsafe:
                continue
            if not self._rules or _named(finding.rule, self._rules):
                return finding
        return None

    def _try(
        self, state: _State, finding: Finding, done: tuple[Change, ...]
    ) -> tuple[tuple[Change, ...], _State] | Rejected:
        assert finding.fix is not None
        try:
            changes = to_changes(state.ckpt, finding.fix.edits)
        except Refused as error:
            return Rejected(finding, str(error))
        if not changes:
            return Rejected(finding, "nothing would change")
        after = self._look((*done, *changes))
        fault = _fault(state, after, finding)
        return Rejected(finding, fault) if fault else (changes, after)

    def _look(self, changes: tuple[Change, ...]) -> _State:
        source = overlaid(self._source, folded(changes)) if changes else self._source
        with gc_paused():
            ckpt = load(source, self._rulebook, metadata_only=self._metadata_only)
            return _State(ckpt, examine(ckpt, self._targets, self._rulebook.cards))


def _fault(before: _State, after: _State, finding: Finding) -> str:
    """Return why a repair does not stand, "" when it does."""
    old = {item.fingerprint for item in before.report.every_finding}
    now = {item.fingerprint: item for item in after.report.every_finding}
    if finding.fingerprint in now:
        return "the finding would still be there"
    if after.report.crashes:
        return f"the check would crash: {after.report.crashes[0].error}"
    safe = finding.fix is not None and finding.fix.safety == "safe"
    better = False
    for was, verdict in zip(before.report.verdicts, after.report.verdicts, strict=True):
        better |= OUTCOMES.index(verdict.outcome) > OUTCOMES.index(was.outcome)
        worse = _worse(was, verdict, safe=safe)
        if worse:
            return worse
    if before.sight == after.sight:
        minor = ("warning", "note") if better else ("note",)
        new = [item for key, item in now.items() if key not in old and item.severity not in minor]
        if new:
            return f"it would lead to {new[0].rule}: {new[0].message}"
    return ""


def _worse(was: Verdict, verdict: Verdict, *, safe: bool) -> str:
    """Return how a repair would harm a target, "" when it does not; a safe one leaves a sound precision alone."""
    if OUTCOMES.index(verdict.outcome) < OUTCOMES.index(was.outcome):
        return f"{verdict.target.label} would go from {was.outcome} to {verdict.outcome}"
    if safe and was.outcome == "ok" and verdict.precision != was.precision:
        return f"{verdict.target.label} would read {verdict.precision} instead of {was.precision}"
    return ""


def _named(rule: str, names: Sequence[str]) -> bool:
    return any(rule == name or rule.startswith(name.rstrip("/") + "/") for name in names)
