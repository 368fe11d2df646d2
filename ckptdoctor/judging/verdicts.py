"""From findings to one verdict per target: the worst outcome among findings in the files it reads decides."""

from __future__ import annotations

from collections.abc import Sequence

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.base import Reading
from ..memory.weights import weights
from ..model import Crash, Evidence, Finding, LoaderOutcome, Outcome, Skip, Target, Verdict, worst
from ..ruledata import Rulebook
from .compared import compared, unearned

_STRENGTH: tuple[Evidence, ...] = ("observed", "source", "assumed")


def verdicts(
    ckpt: Checkpoint,
    readings: Sequence[Reading],
    findings: Sequence[Finding],
    skips: Sequence[Skip],
    crashes: Sequence[Crash],
) -> tuple[Verdict, ...]:
    """Return one verdict per reading, in the order of the targets."""
    blind = next((skip.reason for skip in skips if skip.kind == "blind"), "")
    crashed = f"a rule crashed ({crashes[0].rule})" if crashes else ""
    return tuple(_verdict(ckpt, reading, findings, blind or crashed) for reading in readings)


def _verdict(ckpt: Checkpoint, reading: Reading, findings: Sequence[Finding], doubt: str) -> Verdict:
    mine = _outcomes(findings, reading.target)
    outcome = worst([item.outcome for _, item in mine])
    deciding = [(finding, item) for finding, item in mine if item.outcome == outcome and outcome != "ok"]
    reason = deciding[0][0].message if deciding else ""
    parts = compared(ckpt, reading)
    why_unknown = reading.plan.unknown or doubt or unearned(parts)
    if outcome == "ok" and why_unknown:
        outcome, reason = "unknown", why_unknown
    return Verdict(
        target=reading.target,
        outcome=outcome,
        precision=_precision(ckpt, reading, outcome),
        because=tuple(dict.fromkeys(finding.rule for finding, _ in deciding)),
        evidence=_strongest([item.evidence for _, item in deciding], reading.evidence),
        needs=reading.plan.needs,
        reason=reason,
        uses=_uses(reading, ckpt.rulebook),
        tensor_parallel=reading.tensor_parallel,
        weights=None if outcome in ("fails", "unknown") else weights(ckpt, reading).total,
        compared=parts,
    )


def _outcomes(findings: Sequence[Finding], target: Target) -> list[tuple[Finding, LoaderOutcome]]:
    """Return what the findings say of one target, each with the finding that says it."""
    return [
        (finding, outcome)
        for finding in findings
        for outcome in finding.outcomes
        if outcome.target.label == target.label
    ]


def _uses(reading: Reading, rulebook: Rulebook) -> tuple[str, ...]:
    """Return the target's packages that count: all but the loader itself and plug-ins for other methods."""
    plugins = {
        row["package"]: row["method"] for data in rulebook.loaders.values() for row in data.get("plugins", ())
    }
    return tuple(
        name
        for name in reading.target.versions
        if name != reading.target.loader and plugins.get(name, reading.plan.method) == reading.plan.method
    )


def _strongest(found: Sequence[Evidence], otherwise: Evidence) -> Evidence:
    return min(found, key=_STRENGTH.index, default=otherwise)


def _precision(ckpt: Checkpoint, reading: Reading, outcome: Outcome) -> str | None:
    """Return how the loader would hold the weights of the layers: a scheme id or ``mixed(a,b)``."""
    if outcome == "fails" or not reading.loaded_as:
        return None
    view = ckpt.view(reading.plan.files)
    schemes = _schemes(view, reading, layers_only=True) or _schemes(view, reading, layers_only=False)
    if len(schemes) > 1:
        return f"mixed({','.join(sorted(schemes))})"
    return next(iter(schemes), None)


def _schemes(view: View, reading: Reading, *, layers_only: bool) -> set[str]:
    """Return the schemes of matrix-like weights (norms and biases say nothing about precision)."""
    found: set[str] = set()
    for number, schemes in reading.loaded_as.items():
        signature = view.signatures[number]
        matrix = signature.stored.quantized or any(len(leaf.shape) > 1 for leaf in signature.leaves)
        if matrix and (not layers_only or "*" in signature.template):
            found.update(scheme for scheme in schemes if scheme)
    return found
