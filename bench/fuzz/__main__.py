"""Throw damaged input at everything that reads: no crash, no hang, no runaway memory, the same answer twice.

    python -m bench.fuzz --seconds 60                  every lane for its share of a minute, as CI does
    python -m bench.fuzz --headers 10000000            until so many headers were parsed, over all runs
    python -m bench.fuzz --folders 1000000             until so many checkpoints were checked, over all runs
    python -m bench.guided CORPUS                      guided by coverage (pip install atheris)

Input number N of a lane follows from the seed and N alone, so a count goes on where the last run with the same
``--state`` stopped.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import bases, folders, headers, texts

GROWTH = 300
"""MB of peak memory above the start that count as unbounded."""
BLOCK = {"headers": 10_000, "folders": 250, "texts": 2}
"""Inputs between two looks at the clock."""
MAX_BROKEN = 20
Block = Callable[[int, random.Random], Iterator[str]]
"""From a number of inputs to what went wrong with them."""


def lanes(seed: int) -> dict[str, Block]:
    """Return name → the function that tries a block of inputs."""
    cut = headers.bases(bases.sound())

    def of_headers(count: int, rng: random.Random) -> Iterator[str]:
        for number in range(count):
            raw = headers.mutate(cut[int(rng.random() * len(cut))], rng)
            why = headers.complaint(raw, thorough=number % 8 == 0)
            if why:
                folders.keep(bases.Folder({"model.safetensors": raw}), why, f"header-{seed}-{number}")
                yield why

    return {"headers": of_headers, "folders": folders.block, "texts": lambda n, rng: iter(texts.run(n, rng))}


def until(
    name: str, block: Block, seed: int, done: int, wanted: float, stop: float
) -> Iterator[tuple[int, list[str]]]:
    """Try blocks until ``wanted`` inputs are ``done`` or the clock says ``stop``; yield how many and what broke."""
    while done < wanted and time.monotonic() < stop:
        size = BLOCK[name]
        broken = list(block(size, random.Random(f"{seed} {name} {done}")))
        done += size
        yield done, broken


def main() -> int:
    """Fuzz until the time or the counts are used up; return 1 when anything broke."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=float("inf"))
    for name in BLOCK:
        parser.add_argument(f"--{name}", type=int, default=0, help=f"stop after so many {name} in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="JSON file that keeps the counts over runs")
    args = parser.parse_args()
    counts: dict[str, int] = json.loads(args.state.read_text()) if args.state and args.state.exists() else {}
    named = {name: getattr(args, name) for name in BLOCK if getattr(args, name)}
    wanted: dict[str, float] = dict(named) or dict.fromkeys(BLOCK, float("inf"))
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broken: list[str] = []
    blocks = lanes(args.seed)
    gc.freeze()  # what stays is not looked through again for each input
    for turn, (name, limit) in enumerate(wanted.items(), 1):
        stop = start + args.seconds * turn / len(wanted)
        for done, found in until(name, blocks[name], args.seed, counts.get(name, 0), limit, stop):
            counts[name] = done
            broken += found
            for why in found:
                print(f"{name} before {done}: {why[:500]}", flush=True)
            if args.state:
                args.state.write_text(json.dumps(counts))
            if len(broken) >= MAX_BROKEN:
                break
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(
        f"{told}; seed {args.seed}, {len(broken)} broken, {grown} MB of growth, {time.monotonic() - start:.0f} s"
    )
    return 1 if broken or grown > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
