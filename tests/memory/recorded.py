"""What real loaders held, as tests.observe.memory recorded it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.observe.memory import MEMORY, MODELS

TRANSFORMERS, VLLM = "transformers-5.23.0", "vllm-0.32.0"


@cache
def rows(name: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of one record."""
    text = (MEMORY / f"{name}.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


def held(row: dict[str, Any]) -> int:
    """Return the bytes of parameters, persistent buffers and states of one of vLLM's rows."""
    return int(sum(row["weights"].values()) - row["weights"]["tables"])


@cache
def models() -> dict[str, Any]:
    """Return the models that are built from their config alone."""
    return dict(json.loads(MODELS.read_text(encoding="utf-8")))
