"""One test load: what is asked for, what came of it, and how that compares with what the check says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..engine import check_source
from ..explain import Candidate, explain
from ..memory.asking import ask
from ..memory.nouns import Weights
from ..memory.weights import weights
from ..model import Target, Verdict
from ..ruledata import Rulebook
from ..sources import open_source
from .process import Failed, Limits, Tell, Worker, texts, unchanged
from .verdict import Seen, judge
from .workers.limits import Limit, limit_of

LOADERS = ("transformers", "peft", "vllm")
OPTIONS = {"load_format", "max_lora_rank"}
"""Options of a target that are handed to the loader by their own name."""


class Wanted(NamedTuple):
    """A load, as it is asked for."""

    checkpoint: str
    """An absolute path: a directory with safetensors files, or an adapter's."""
    target: Target
    """The loader as it is installed beside `python`."""
    python: str
    base: str | None = None
    until: str = "generate"
    timeout_s: float = 600.0
    limits: Limits = Limits()
    trust_remote_code: bool = False


class Result(NamedTuple):
    """What came of it."""

    wanted: Wanted
    versions: Mapping[str, str]
    device: str
    seen: Mapping[str, Any]
    """What the worker saw (`workers.serve`); empty where it gave no answer."""
    judged: Seen
    failure: Failed | None
    limit: Limit | None
    """The limit of this environment that stopped it, where it is one that is known."""
    rules: tuple[Candidate, ...]
    """What may explain the exception, the best first."""
    predicted: Verdict
    weights: Weights
    """The predicted bytes of weights on the device that it was loaded on."""
    agrees: bool | None
    """Whether the check had said so; None where one of the two says nothing."""
    changed: tuple[str, ...]
    """Files of the checkpoint that are not as they were before the load."""
    log: str | None
    seconds: Mapping[str, float]
    """Stage → how long it took."""
    peak: int
    """The most bytes that the process and its children had at once, files mapped from disk left out."""

    @property
    def exception(self) -> str:
        """What was raised, as a traceback ends."""
        found = self.seen.get("exception") or (self.failure.exception if self.failure else None)
        return f"{found.get('type', '')}: {found.get('text', '')}" if isinstance(found, Mapping) else ""


def load(wanted: Wanted, rulebook: Rulebook, tell: Tell | None = None) -> Result:
    """Check the checkpoint, load it for real, and return both. Whatever happens to the process is in the result."""
    base = None if wanted.base is None else open_source(wanted.base)
    [predicted] = check_source(open_source(wanted.checkpoint), [wanted.target], rulebook, base=base).verdicts
    clock = Clock(tell)
    failure, seen, ready = None, {}, {}
    with unchanged(Path(wanted.checkpoint)) as changed:
        worker, bad = Worker(wanted.python, wanted.target.loader, wanted.limits), False
        try:
            deadline = time.monotonic() + wanted.timeout_s
            ready = worker.start(wanted.timeout_s, clock)
            left = max(deadline - time.monotonic(), 1.0)
            seen = _clean(worker.ask(request(wanted), left, clock))
            bad = bool(seen.get("exception"))
        except Failed as error:
            failure, bad = error, True
        finally:
            worker.close(keep=bad)
    judged = _judged(seen, failure)
    text = _text(seen, failure)
    agrees = agreement(judged, seen, predicted, wanted.until)
    return Result(
        wanted=wanted,
        versions=texts(ready.get("versions")),
        device=str(ready.get("device", "")),
        seen=seen,
        judged=judged,
        failure=failure,
        limit=limit_of(text, wanted.target.loader) if judged.cause == "environment" else None,
        rules=_causes(text, judged, predicted, rulebook),
        predicted=predicted,
        weights=weights(
            *ask(open_source(wanted.checkpoint), wanted.target, rulebook), device=str(ready.get("device"))
        ),
        agrees=agrees,
        changed=tuple(changed),
        log=worker.log if bad else None,
        seconds=clock.total(),
        peak=int(worker.ended.get("peak", 0)),
    )


def request(wanted: Wanted) -> dict[str, Any]:
    """The request to the worker."""
    options = {key: value for key, value in wanted.target.options.items() if key in OPTIONS}
    if wanted.base is not None:
        options["base"] = wanted.base
    if wanted.trust_remote_code:
        options["trust_remote_code"] = True
    return {"id": "1", "path": wanted.checkpoint, "options": options, "until": wanted.until}


def agreement(judged: Seen, seen: Mapping[str, Any], predicted: Verdict, until: str) -> bool | None:
    """Whether the check had said what happened; None where one of them is silent, or the load did not go far enough."""
    if judged.outcome == "unknown" or predicted.outcome == "unknown":
        return None
    if judged.outcome == predicted.outcome:
        return None if until == "build" else True
    short = {"built": ("ok",), "loaded": ("ok", "wrong-precision")}.get(str(seen.get("stage")), ())
    if (judged.outcome, predicted.outcome) == ("ok", "corrupt"):
        return None  # it holds what the file says, and that may be just what the check objects to
    later = predicted.outcome == "fails-late" or seen.get("stage") == "built"
    return None if judged.outcome in short and later else False


class Clock:
    """Measures the stages and passes the events on."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._stages: list[tuple[str, float]] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Note a stage that begins."""
        stage = str(event.get("stage", ""))
        if not self._stages or self._stages[-1][0] != stage:
            self._stages.append((stage, time.monotonic()))
        if self._tell is not None:
            self._tell(event)

    def total(self) -> dict[str, float]:
        """Stage → seconds until the next one."""
        found: dict[str, float] = {}
        ends = [begun for _, begun in self._stages[1:]] + [time.monotonic()]
        for (stage, begun), end in zip(self._stages, ends, strict=True):
            found[stage] = found.get(stage, 0.0) + end - begun
        return found


def _judged(seen: Mapping[str, Any], failure: Failed | None) -> Seen:
    if failure is None:
        return judge(seen)
    return Seen("unknown", "environment", ())


def _causes(text: str, judged: Seen, predicted: Verdict, rulebook: Rulebook) -> tuple[Candidate, ...]:
    """Return what may explain an exception, the best first: why the check had said so, then what the text leads to.

    Loaders raise one text for several causes; where the check foresaw the outcome, it knows which of them it is.
    """
    if not text or judged.cause != "checkpoint":
        return ()
    foreseen = predicted.because if predicted.outcome == judged.outcome else ()
    known = [Candidate(rule, rulebook.prose(rule)["summary"]) for rule in foreseen]
    return (*known, *(found for found in explain(text, rulebook) if found.rule not in foreseen))


def _text(seen: Mapping[str, Any], failure: Failed | None) -> str:
    exception = texts(seen.get("exception")) or texts(failure.exception if failure else None)
    above = [exception["above"]] if "above" in exception else []
    return "\n".join([*above, f"{exception['type']}: {exception['text']}"]) if exception else ""


_LISTS = (
    "missing",
    "unexpected",
    "mismatched",
    "never_written",
    "never_read",
    "unscaled",
    "dropped",
    "otherwise",
    "cast",
    "differ_from_file",
    "not_compared",
)


def _clean(event: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a worker with every part of the type it should be: remote code may run in that process."""
    found: dict[str, Any] = {key: _names(event[key]) for key in _LISTS if isinstance(event.get(key), list)}
    found |= {
        key: texts(event[key]) for key in ("exception", "precision") if isinstance(event.get(key), dict)
    }
    numbers = ("same", "weights_bytes")
    found |= {key: event[key] for key in numbers if isinstance(event.get(key), int)}
    found |= {key: event[key] for key in ("environment", "logits_finite") if isinstance(event.get(key), bool)}
    never = set(found.get("never_written", ()))
    for key in ("differ_from_file", "not_compared"):  # a parameter is told once
        if key in found:
            found[key] = [name for name in found[key] if name not in never]
    return {**found, "stage": str(event.get("stage", ""))}


def _names(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values]
