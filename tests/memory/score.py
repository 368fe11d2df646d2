"""How close predicted memory is to what was recorded; ``python -m tests.memory.score`` prints the table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from ckptdoctor.memory.cache import cache
from ckptdoctor.memory.weights import weights
from ckptdoctor.sources import open_source
from ckptdoctor.sources.base import Source
from tests.memory.made import made
from tests.memory.recorded import TRANSFORMERS, VLLM, held, models, rows
from tests.observe.paths import SOUND
from tests.support.shipped import RULEBOOK, ask, parse_target

IN_TRANSFORMERS = parse_target("transformers==5.23.0")
IN_VLLM = parse_target("vllm==0.32.0,vllm-bnb-plugin==0.0.3")
CORRUPT_THERE = {"mistral-modelopt-fp8"}
"""transformers passes over what declares this, so that what it holds has nothing to do with the file."""


class Compared(NamedTuple):
    """A prediction beside what was measured, in bytes."""

    predicted: int | None
    measured: int

    @property
    def error(self) -> float:
        """As a part of what was measured."""
        return abs((self.predicted or 0) - self.measured) / self.measured


def in_transformers() -> Iterator[Compared]:
    """Yield the sound fixtures that transformers loads."""
    for row in rows(TRANSFORMERS):
        if "weights" in row and row["case"] not in CORRUPT_THERE:
            subject = ask(open_source(str(SOUND / row["case"])), IN_TRANSFORMERS)
            yield Compared(weights(*subject, device="cpu").total, row["weights"])


def in_vllm(*, built: bool) -> Iterator[Compared]:
    """Yield the sound fixtures that vLLM loads, or the models that it builds, on one device and on several."""
    for row in rows(VLLM):
        if "weights" in row and (row["case"] in models()) is built:
            source = made(models()[row["case"]]["config"]) if built else open_source(str(SOUND / row["case"]))
            yield Compared(None if isinstance(source, str) else _total(source, row["tp"]), held(row))


def _total(source: Source, tp: int) -> int | None:
    target = IN_VLLM._replace(options={**IN_VLLM.options, "tp": tp})
    return weights(*ask(source, target)).total


def per_token() -> Iterator[Compared]:
    """Yield what all layers of the built models keep of a token, those left out that keep nothing of it."""
    for row in rows(VLLM):
        if row["case"] in models() and "cache" in row:
            measured = sum(_per_token(layer) * layer["layers"] for layer in row["cache"])
            dtype = row["options"].get("kv_cache_dtype", "auto")
            kept = cache(models()[row["case"]]["config"], RULEBOOK, dtype=dtype, devices=row["tp"])
            if measured:
                yield Compared(None if kept.unknown else kept.per_token, measured)


def _per_token(layer: dict[str, Any]) -> int:
    return 0 if "state" in layer else int(layer["page"] // layer["block"])


def table() -> str:
    """Return the table of the README."""
    lines = [
        "| what | measured in | cases | predicted | equal | within 1 % | largest error |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = [
        ("weights of sound fixtures", "transformers 5.23.0", in_transformers()),
        ("weights of sound fixtures", "vLLM 0.32.0", in_vllm(built=False)),
        ("weights, one to four devices", "vLLM 0.32.0", in_vllm(built=True)),
        ("KV cache of a token, one to four devices", "vLLM 0.32.0", per_token()),
    ]
    for what, where, found in parts:
        every = list(found)
        told = [item for item in every if item.predicted is not None]
        equal, near = sum(not item.error for item in told), sum(item.error <= 0.01 for item in told)
        worst = max(item.error for item in told)
        lines.append(f"| {what} | {where} | {len(every)} | {len(told)} | {equal} | {near} | {worst:.2%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
