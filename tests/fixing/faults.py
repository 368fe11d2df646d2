"""Every way a repair, its undoing and its recovery can be cut short, each followed by what the next run would do.

A point is one fault at one system call, or one state that the disk may hold after a power cut. It passes when the
directory is wholly as before or wholly as after, byte for byte, at once where the process lived to take it back, else
after the next run has recovered; and when nothing half done of ours is left, and what was repaired can be undone.

    python -m tests.fixing.faults           # a sample of 4,000 points
    python -m tests.fixing.faults --all     # all of them
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.recovery import recover
from ckptdoctor.fixing.undo import undo

from ..support.crash import Op, Tree, after_a_crash, restore, seen, snapshot, visible
from ..support.disks import KINDS, Faulty, Killed, Lazy, Recorder
from .repairs import FEW, MODEL, RUNS, place, record, recovered

TAKEN_BACK = frozenset({"full", "ENOSPC", "EIO", "EACCES", "EINTR", "interrupt", "short"})
"""After these the process lives and its disk lets it take back what it did: no next run is needed."""
POWER = "power cut"


class Point(NamedTuple):
    """One fault."""

    run: str
    phase: str
    """``fix``, ``undo``, or the recovery of one of them that was killed after operation ``before``."""
    kind: str
    at: int
    """The system call, or the state of the disk."""
    before: int = 0


class Bench:
    """One repair in one directory of its own."""

    def __init__(self, top: Path, run: str) -> None:
        self.top = top
        self.run = run
        self.changes = RUNS[run]
        doing, self.repaired, undoing, _ = record(top, self.changes)
        self.ops: dict[str, list[Op]] = {"fix": doing, "undo": undoing}
        self.start: dict[str, Tree] = {"fix": MODEL, "undo": self.repaired}
        self.ends = (seen(MODEL), seen(self.repaired))
        self._states: dict[tuple[str, int], list[Tree]] = {}

    def points(self, step: int = 1) -> Iterator[Point]:
        """Yield every point of this repair; of the recoveries those after each ``step``-th operation."""
        for phase in ("fix", "undo"):
            count = self._calls(phase)
            yield from (Point(self.run, phase, kind, at) for kind in KINDS for at in range(count))
            yield from (Point(self.run, phase, POWER, at) for at in range(len(self._after(phase, 0))))
            if self.run in FEW:
                yield from self._recoveries(phase, step)

    def _recoveries(self, phase: str, step: int) -> Iterator[Point]:
        for stop in range(1, len(self.ops[phase]), step):
            recovery = f"recovery of {phase}"
            count = self._calls(recovery, stop)
            yield from (Point(self.run, recovery, kind, at, stop) for kind in KINDS for at in range(count))
            states = len(self._after(recovery, stop))
            yield from (Point(self.run, recovery, POWER, at, stop) for at in range(states))

    def fails(self, point: Point) -> str:
        """Return what is wrong after ``point``, "" when nothing is."""
        if point.kind == POWER:
            restore(self._after(point.phase, point.before)[point.at], self.top)
        else:
            wrong = self._struck(point)
            if wrong:
                return wrong
        try:
            found = recovered(self.top)
        except (AssertionError, FixError, OSError) as error:
            return f"recovery: {error!r}"
        if found not in self.ends:
            return "a mixed state after recovery"
        if found == self.ends[1] and found != self.ends[0]:
            undo(place(self.top), disk=Lazy())
            if snapshot(self.top) != MODEL:
                return "undo does not lead back"
        return ""

    def _struck(self, point: Point) -> str:
        self._begin(point.phase, point.before)
        disk = Faulty(point.at, point.kind)
        try:
            self._do(point.phase, disk)
        except (FixError, KeyboardInterrupt):
            pass
        except Killed:
            if point.kind not in ("kill", "tear"):
                return "killed"
        except OSError as error:
            if point.phase in self.ops:
                return f"an error that is no FixError: {error}"
        if point.phase == "fix" and point.kind in TAKEN_BACK and seen(snapshot(self.top)) not in self.ends:
            return "not taken back at once"
        return ""

    def _begin(self, phase: str, stop: int) -> None:
        done = phase.removeprefix("recovery of ")
        restore(visible(self.start[done], self.ops[done][:stop]) if stop else self.start[done], self.top)

    def _do(self, phase: str, disk: Disk) -> None:
        if phase == "fix":
            commit(place(self.top), self.changes, "t", disk)
        elif phase == "undo":
            undo(place(self.top), disk=disk)
        else:
            recover(place(self.top), disk)

    def _calls(self, phase: str, stop: int = 0) -> int:
        self._begin(phase, stop)
        disk = Faulty(sys.maxsize, "kill")
        self._do(phase, disk)
        return disk.calls

    def _after(self, phase: str, stop: int) -> list[Tree]:
        """Return what the disk may hold after a power cut; of a recovery only what the run itself could not leave."""
        if (phase, stop) not in self._states:
            start, ops = self.start[phase.removeprefix("recovery of ")], self.ops.get(phase, [])
            known: set[int] = set()
            if stop:
                self._begin(phase, stop)
                recorder = Recorder(self.top)
                recover(place(self.top), recorder)
                done = self.ops[phase.removeprefix("recovery of ")][:stop]
                known = {_hash(tree) for tree in after_a_crash(start, done)}
                ops = [*done, *recorder.ops]
            states = [tree for tree in after_a_crash(start, ops) if _hash(tree) not in known]
            self._states = {(phase, stop): states}
        return self._states[phase, stop]


def _hash(tree: Tree) -> int:
    return hash(tuple(sorted(tree.items())))


def checked(run: str, share: float) -> tuple[Counter[str], list[str]]:
    """Return how many points of a run there were by phase and kind, and what was wrong at which."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    dice = random.Random(f"{run} 12")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        bench = Bench(Path(folder) / "top", run)
        for point in list(bench.points()) if share == 1 else _some(bench, share, dice):
            counts[f"{point.phase}: {point.kind}"] += 1
            problem = bench.fails(point)
            if problem:
                wrong.append(f"{point}: {problem}")
    return counts, wrong


def _some(bench: Bench, share: float, dice: random.Random) -> Iterable[Point]:
    return [point for point in bench.points(12) if dice.random() < share]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all points, or a sample, with as many processes as there are processors; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--all", action="store_true", help="every point, not a sample")
    share = 1.0 if parser.parse_args(arguments).all else 0.02
    begun = time.perf_counter()
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as state:
        os.environ["CKPTDOCTOR_STATE"] = state
        longest_first = sorted(RUNS, key=lambda run: (run not in FEW, -len(RUNS[run])))
        with ProcessPoolExecutor() as pool:
            for run, (found, bad) in zip(
                longest_first, pool.map(checked, longest_first, [share] * len(RUNS)), strict=True
            ):
                sys.stderr.write(f"{found.total():9,}  {run}{f': {len(bad)} not whole' if bad else ''}\n")
                counts += found
                wrong += bad
    for name, count in sorted(counts.items()):
        sys.stdout.write(f"{count:9,}  {name}\n")
    for line in wrong[:20]:
        sys.stdout.write(f"MIXED  {line}\n")
    seconds = time.perf_counter() - begun
    sys.stdout.write(f"{counts.total():9,}  points, {len(wrong)} not whole, {seconds:.0f} s\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        raise SystemExit(main())
