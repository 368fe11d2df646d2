"""Two checkpoints of one model side by side: is the packed one still the model that it was made from?

``compare`` runs both in the user's transformers and returns numbers; ``judged`` puts them into a word and a reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from .process import Failed, Limits, Tell, Worker

WORKER = "compare"
READER = "transformers"
"""The loader that runs both."""
Word = Literal["alike", "worse", "damaged"]


class Settings(NamedTuple):
    """How much is compared."""

    positions: int = 256
    """Tokens of the passage."""
    prompts: int = 4
    prompt: int = 32
    """Tokens of a prompt."""
    tokens: int = 32
    """Tokens that are generated from each."""
    repeats: int = 3
    """How often each is timed."""


class Speed(NamedTuple):
    """One quantity, measured several times."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """How far the values lie apart, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.middle


class Model(NamedTuple):
    """One of the two, by itself."""

    perplexity: float | None
    """Of the passage; None where it is no number."""
    finite: bool
    """Whether every log-probability is a number."""
    first_token_s: Speed
    tokens_per_s: Speed


class Likeness(NamedTuple):
    """How far the checkpoint is from the reference, over the same tokens."""

    positions: int
    top1: float
    """Share of positions at which both find the same token likeliest."""
    kl: float | None
    """Mean Kullback-Leibler divergence of the reference's next-token distribution from the checkpoint's, in nats."""
    kl_largest: float | None
    kl_each: tuple[float | None, ...]
    greedy: tuple[float, ...]
    """Per prompt, the share of the generated tokens until the two part."""
    tokenizer: bool
    """Whether the reference brings a tokenizer; else the bytes of the passage stood for tokens."""
    reference: Model
    checkpoint: Model
    device: str = ""
    """Where both ran, ``cpu`` or ``cuda``."""

    @property
    def perplexity_ratio(self) -> float | None:
        """The checkpoint's perplexity as a multiple of the reference's."""
        mine, theirs = self.checkpoint.perplexity, self.reference.perplexity
        return None if mine is None or not theirs else mine / theirs


class Threshold(NamedTuple):
    """Up to where a checkpoint counts so."""

    word: Word
    kl: float
    perplexity_ratio: float
    top1: float


THRESHOLDS = (Threshold("alike", 0.1, 1.05, 0.85), Threshold("worse", 0.5, 1.3, 0.6))
"""What is beyond the last is damaged. Conventions, on the wide side of what 4-bit weights cost: nothing here is known
of what a task needs."""


class NotComparable(Exception):
    """One of the two did not load or run, or they are no two checkpoints of one model; the message says which."""


def compare(
    checkpoint: str,
    reference: str,
    python: str,
    settings: Settings = Settings(),  # noqa: B008 - immutable
    *,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    timeout_s: float = 1800.0,
    tell: Tell | None = None,
) -> Likeness:
    """Load both with the transformers of ``python`` and compare them. Raises Failed and NotComparable."""
    deadline = time.monotonic() + timeout_s
    with Worker(python, WORKER, limits) as worker:
        ready = worker.start(timeout_s, tell)
        request = {"id": "1", "path": checkpoint, "reference": reference, **settings._asdict()}
        seen = worker.ask(request, max(deadline - time.monotonic(), 1.0), tell)
    exception = seen.get("exception")
    if isinstance(exception, Mapping):
        where = f"the {seen['role']}: " if seen.get("role") else ""
        raise NotComparable(f"{where}{exception.get('type')}: {exception.get('text')}")
    return _likeness(seen)._replace(device=str(ready.get("device", "")))


def judged(found: Likeness) -> tuple[Word, str]:
    """Return a word for how far apart the two are, and the number that decides."""
    if not found.checkpoint.finite or found.kl is None or found.perplexity_ratio is None:
        return "damaged", "its probabilities are no numbers"
    ratio, reason = found.perplexity_ratio, ""
    for limit in THRESHOLDS:
        over = []
        if found.kl > limit.kl:
            over.append(f"KL divergence {found.kl:.3g} > {limit.kl:g}")
        if ratio > limit.perplexity_ratio:
            over.append(f"perplexity × {ratio:.3g} > × {limit.perplexity_ratio:g}")
        if found.top1 < limit.top1:
            over.append(f"same likeliest token {found.top1:.0%} < {limit.top1:.0%}")
        if not over:
            return limit.word, reason or f"KL divergence {found.kl:.3g}, perplexity × {ratio:.3g}"
        reason = ", ".join(over)
    return "damaged", reason


def _likeness(seen: Mapping[str, Any]) -> Likeness:
    try:
        return Likeness(
            int(seen["positions"]),
            float(seen["top1"]),
            _number(seen["kl"]),
            _number(seen["kl_largest"]),
            tuple(map(_number, seen["kl_each"])),
            tuple(map(float, seen["greedy"])),
            bool(seen["tokenizer"]),
            _model(seen["reference"]),
            _model(seen["checkpoint"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Failed("died", f"the process gave an answer of another form: {error}") from error


def _model(seen: Mapping[str, Any]) -> Model:
    return Model(
        _number(seen["perplexity"]),
        bool(seen["finite"]),
        _speed(seen["first_token_s"]),
        _speed(seen["tokens_per_s"]),
    )


def _speed(values: Sequence[object]) -> Speed:
    return Speed(tuple(float(str(value)) for value in values))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
