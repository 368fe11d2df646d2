"""Run two checkpoints of one model on the same text and say how far apart they are.

Both see the very tokens of the reference, so that every position can be compared: agreement of the likeliest token,
the Kullback-Leibler divergence of the next-token distributions (in nats, reference first), perplexity. Then both
generate greedily from the same prompts, timed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import transformers

from . import confine
from . import transformers as own
from .raised import raised

PASSAGE = Path(__file__).with_name("passage.txt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
TEXT_LIMIT = 2000

start = own.start


def observe(request: dict[str, Any], tell: own.Tell) -> dict[str, Any]:
    """Load the reference, then the checkpoint, and compare; whatever a loader raises is in the answer."""
    torch.manual_seed(0)
    paths = {"reference": request["reference"], "checkpoint": request["path"]}
    confine.protected.append(str(Path(request["reference"]).resolve()))
    role, runs = "", []
    try:
        for role, path in paths.items():
            tell("stage", stage=role)
            ids = tokens(paths["reference"], request["positions"])
            runs.append(Run(path, ids, request))
    except Exception as error:
        return {"exception": raised(error, str(error)[:TEXT_LIMIT]), "role": role}
    reference, checkpoint = runs
    if reference.scores.shape != checkpoint.scores.shape:
        sizes = [int(run.scores.shape[-1]) for run in runs]
        return {"exception": {"type": "vocabulary", "text": f"{sizes[0]} and {sizes[1]} words"}, "role": ""}
    return {"exception": None, "tokenizer": has_tokenizer(paths["reference"]), **apart(reference, checkpoint)}


def has_tokenizer(path: str) -> bool:
    """Whether a tokenizer lies beside the weights; else bytes stand for tokens."""
    return any(Path(path, name).exists() for name in TOKENIZERS)


def tokens(path: str, count: int) -> torch.Tensor:
    """The passage as tokens ``[1, n]`` of at most ``count``."""
    text = PASSAGE.read_text(encoding="utf-8")
    if has_tokenizer(path):
        found = transformers.AutoTokenizer.from_pretrained(path)(text)["input_ids"]
    else:
        found = list(text.encode())
    return torch.tensor([found[:count]])


class Run:
    """One model on the passage: log-probabilities ``[n - 1, vocabulary]`` in float32, what it generates, how fast."""

    def __init__(self, path: str, ids: torch.Tensor, request: dict[str, Any]) -> None:
        model, _ = own.load(path, {})
        text = model.config.get_text_config()
        ids = (ids % text.vocab_size)[:, : getattr(text, "max_position_embeddings", ids.shape[1])]
        self.ids = ids.to(own.device())
        with torch.no_grad():
            logits = model(input_ids=self.ids).logits[0, :-1].float().cpu()
        self.scores = logits.log_softmax(-1)
        self.following = ids[0, 1:]
        self.greedy: list[list[int]] = []
        self.first_s: list[float] = []
        self.per_second: list[float] = []
        for begin in starts(ids.shape[1], request["prompt"], request["prompts"]):
            self.generate(model, self.ids[:, begin : begin + request["prompt"]], request)

    def generate(self, model: Any, prompt: torch.Tensor, request: dict[str, Any]) -> None:
        """Go on from one prompt by the likeliest token; once to warm up, then for the clock."""
        said, _ = further(model, prompt, request["tokens"])
        self.greedy.append(said)
        for _ in range(request["repeats"]):
            _, times = further(model, prompt, request["tokens"])
            self.first_s.append(times[1] - times[0])
            self.per_second.append((len(times) - 2) / (times[-1] - times[1]))

    @property
    def perplexity(self) -> float:
        """Of the passage."""
        picked = self.scores.gather(1, self.following[:, None])
        return float(picked.mean().neg().exp())


def further(model: Any, prompt: torch.Tensor, count: int) -> tuple[list[int], list[float]]:
    """``count`` tokens from ``prompt``, each the likeliest, and the time before the first and after each."""
    said: list[int] = []
    cache, feed, times = None, prompt, [clock()]
    with torch.no_grad():
        for _ in range(count):
            step = model(input_ids=feed, past_key_values=cache, use_cache=True)
            cache, feed = step.past_key_values, step.logits[:, -1:].argmax(-1)
            said.append(int(feed))
            times.append(clock())
    return said, times


def starts(length: int, prompt: int, prompts: int) -> list[int]:
    """Where prompts begin: evenly over the passage."""
    room = max(1, length - prompt)
    return [room * number // prompts for number in range(prompts)]


def clock() -> float:
    """Seconds, once the device has done what it was told."""
    if own.device() == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def apart(reference: Run, checkpoint: Run) -> dict[str, Any]:
    """How far the second is from the first; numbers that are not finite are null."""
    agree = reference.scores.argmax(-1) == checkpoint.scores.argmax(-1)
    terms = reference.scores.exp() * (reference.scores - checkpoint.scores)
    divergence = terms.nan_to_num(nan=float("nan"), posinf=float("inf")).sum(-1)
    pairs = zip(reference.greedy, checkpoint.greedy, strict=True)
    return {
        "positions": len(agree),
        "top1": float(agree.float().mean()),
        "kl": finite(float(divergence.mean())),
        "kl_largest": finite(float(divergence.max())),
        "kl_each": [finite(value) for value in divergence.tolist()],
        "greedy": [common(*pair) / len(pair[0]) for pair in pairs],
        "reference": alone(reference),
        "checkpoint": alone(checkpoint),
    }


def alone(run: Run) -> dict[str, Any]:
    """What is said of one model."""
    return {
        "perplexity": finite(run.perplexity),
        "finite": bool(run.scores.isfinite().all()),
        "first_token_s": run.first_s,
        "tokens_per_s": run.per_second,
    }


def common(one: list[int], other: list[int]) -> int:
    """How many tokens two continuations share from the start."""
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]), len(one)
    )


def finite(value: float) -> float | None:
    """The number, None where it is none."""
    return value if value - value == 0 else None
