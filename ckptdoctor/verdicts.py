"""From findings to one verdict per target: the worst outcome among findings in the files it reads decides."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from . import ruledata
from .checkpoint.dtypes import BITS
from .checkpoint.nouns import Checkpoint, Leaf, View
from .loaders.base import Reading
from .loaders.shared.modules import architecture
from .loaders.shared.quantised.matching import shape_of
from .model import OUTCOMES, Crash, Evidence, Finding, Outcome, Skip, Verdict, worst

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
    mine = [
        (finding, outcome)
        for finding in findings
        for outcome in finding.outcomes
        if outcome.target.label == reading.target.label
    ]
    outcome = worst([item.outcome for _, item in mine])
    deciding = [(finding, item) for finding, item in mine if item.outcome == outcome and outcome != "ok"]
    reason = deciding[0][0].message if deciding else ""
    why_unknown = reading.plan.unknown or doubt
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
        uses=_uses(reading),
        tensor_parallel=reading.tensor_parallel,
        weights=held_bytes(ckpt, reading, outcome),
    )


def _uses(reading: Reading) -> tuple[str, ...]:
    """Return the target's packages that count: all but the loader itself and plug-ins for other methods."""
    plugins = {
        row["package"]: row["method"]
        for data in ruledata.load().loaders.values()
        for row in data.get("plugins", ())
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
    if OUTCOMES.index(outcome) <= OUTCOMES.index("fails") or not reading.held:
        return None
    view = ckpt.view(reading.plan.files)
    schemes = _held(view, reading, layers_only=True) or _held(view, reading, layers_only=False)
    if len(schemes) > 1:
        return f"mixed({','.join(sorted(schemes))})"
    return next(iter(schemes), None)


def held_bytes(ckpt: Checkpoint, reading: Reading, outcome: Outcome) -> int | None:
    """Return the bytes of weights on one device, None where the loader's way of holding them is not known.

    What is stored stays as it is, but for floats that are cast to the dtype of config.json. Of ``tp`` devices each has
    its part of every matrix and all of the rest.
    """
    if OUTCOMES.index(outcome) <= OUTCOMES.index("fails") or not reading.held or outcome == "unknown":
        return None
    view, devices = ckpt.view(reading.plan.files), reading.target.options.get("tp", 1)
    total = 0
    for number, split in reading.held.items():
        signature = view.signatures[number]
        for scheme, modules in split.items():
            if not scheme or (scheme != signature.stored.scheme and scheme not in _WIDTH):
                return None  # quantised on the way
            if not all(leaf.dtype for leaf in signature.leaves):
                return None  # only names are known
            if scheme in ("f32", "f64") and reading.target.loader != "transformers":
                return None  # vLLM casts these to a dtype of its own choice
            if scheme in _WIDTH and signature.stored.quantized:  # dequantised on the way
                rows, columns = shape_of(signature, architecture(ckpt, view))
                if rows is None or columns is None:
                    return None
                bits = rows * columns * _WIDTH[scheme]
            else:
                bits = sum(_bits(leaf, scheme) for leaf in signature.leaves)
            matrix = signature.stored.quantized or any(len(leaf.shape) > 1 for leaf in signature.leaves)
            parts = devices if matrix and type(devices) is int and devices > 0 else 1
            total += bits * len(modules) // 8 // parts
    return total


def _bits(leaf: Leaf, scheme: str) -> int:
    width = BITS.get(leaf.dtype, 0)
    return prod(leaf.shape) * (
        _WIDTH.get(scheme, width) if leaf.dtype in ("F64", "F32", "F16", "BF16") else width
    )


_WIDTH = {"bf16": 16, "f16": 16, "f32": 32, "f64": 64}


def _held(view: View, reading: Reading, *, layers_only: bool) -> set[str]:
    """Return the schemes of matrix-like weights (norms and biases say nothing about precision)."""
    found: set[str] = set()
    for number, schemes in reading.held.items():
        signature = view.signatures[number]
        matrix = signature.stored.quantized or any(len(leaf.shape) > 1 for leaf in signature.leaves)
        if matrix and (not layers_only or "*" in signature.template):
            found.update(scheme for scheme in schemes if scheme)
    return found
