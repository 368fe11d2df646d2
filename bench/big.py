"""Checkpoints as large as a hostile hand can make them: what a check of each costs, against its limit.

    python -m bench.big [--only tensors,config] [--scale 0.1] [--keep DIR]

Each case is made on disk (sparse, at most 200 MB), checked by a process of its own, and its CPU seconds and peak
memory are set against limits: those of the case at full scale. Where the floor (bench/floors/typed.py) can read the
checkpoint, memory is limited to twice the floor's instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from .huge import CASES, Case
from .run import HERE, measure

FLOOR_MEMORY = 2.0
"""How many times the floor's peak memory a check may take."""


def command(case: Case, folder: Path) -> list[str]:
    """Return the command that is timed on ``case``."""
    return [sys.executable, "-m", "ckptdoctor", case.verb, str(folder), *case.arguments]


def size(folder: Path) -> float:
    """Return the MB that the files of ``folder`` take on disk."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / 1e6


def row(case: Case, folder: Path) -> tuple[str, bool]:
    """Run one case; return its line of the table, and whether it kept its limits."""
    cpu, peak = measure(command(case, folder))
    limit, against = case.peak, ""
    if case.floor:
        floor_cpu, floor_peak = measure([sys.executable, str(HERE / "floors/typed.py"), str(folder)])
        limit = FLOOR_MEMORY * floor_peak
        against = f"{cpu / floor_cpu:.1f} × CPU, {peak / floor_peak:.2f} × memory"
    good = cpu <= case.cpu and peak <= limit
    cells = (
        case.name, f"{size(folder):.0f} MB", f"{cpu:.2f} s", f"{case.cpu:g} s", f"{peak:.0f} MB", f"{limit:.0f} MB",
        against, "" if good else "OVER",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |", good


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when a case went over a limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", help="cases whose names begin with one of these, comma-separated"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full size")
    parser.add_argument("--keep", type=Path, help="make the checkpoints there and leave them")
    options = parser.parse_args(arguments)
    wanted = tuple(filter(None, options.only.split(",")))
    over = 0
    print("| case | on disk | CPU | limit | peak | limit | × floor | |\n|---|---|---|---|---|---|---|---|")
    for case in CASES:
        if wanted and not case.name.startswith(wanted):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = (options.keep or Path(scratch)) / case.name
            if not folder.exists():
                made = get_context("fork").Process(target=case.make, args=(folder, options.scale))
                made.start()  # apart: a process starts with the peak memory of the one that starts it
                made.join()
            line, good = row(case, folder)
            over += not good
            print(line, flush=True)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
