"""A repair is done or not done, wherever it is interrupted: crashes, full disks, failing disks, SIGKILL."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptdoctor.fixing import journal
from ckptdoctor.fixing.commit import commit, recover
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.undo import undo

from .conftest import ROOT
from .fixing.crashing import Machine, Recorder, lay_out
from .fixing.runs import RUNS, State, make, only, state

PER_PREFIX = 12
"""Crash states tried after each operation."""
PAIRS = [(name, back) for name in RUNS for back in (False, True)]


@pytest.fixture
def ram() -> Iterator[Path]:
    """A directory in memory where there is one: thousands of small trees are made in it."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)


def do(parent: Path, name: str, back: bool, disk: Disk) -> None:
    """Do the repair ``name``, or take back the one that was done."""
    if back:
        undo(only(parent), disk=disk)
    else:
        commit(only(parent), RUNS[name], name, disk)


def prepared(parent: Path, name: str, back: bool) -> Path:
    """Return ``parent`` as it is before the run."""
    parent.mkdir()
    make(parent)
    if back:
        commit(only(parent), RUNS[name], name)
    return parent


STATES: set[tuple[str, bool, int]] = set()


@pytest.mark.parametrize(("name", "back"), PAIRS)
def test_every_crash_leaves_it_wholly_before_or_wholly_after(name: str, back: bool, ram: Path) -> None:
    parent = prepared(ram / "real", name, back)
    machine, before = Machine(parent), state(parent)
    recorder = Recorder(parent)
    do(parent, name, back, recorder)
    after = state(parent)
    assert before != after
    seen: set[int] = set()
    for done in range(len(recorder.ops) + 1):
        for number, tree in enumerate(machine.crashes(PER_PREFIX)):
            key = hash(repr(tree))
            if key in seen:
                continue
            seen.add(key)
            place = ram / f"crash-{done}-{number}"
            lay_out(tree, place)
            found = recovered(place)
            assert found in (before, after), f"after {recorder.ops[:done][-3:]}"
            shutil.rmtree(place)
        if done < len(recorder.ops):
            machine.do(recorder.ops[done])
    STATES.update((name, back, key) for key in seen)


def recovered(parent: Path) -> State:
    """Return what the next command makes of an interrupted directory; a second look changes nothing."""
    recover(only(parent))
    found = state(parent)
    recover(only(parent))
    assert state(parent) == found
    entries = journal.entries(only(parent))
    assert all(entry.state in ("committed", "undone") for entry in entries)
    return found


def test_enough_states_were_tried() -> None:
    """Runs after the tests above, in the same process (with xdist each process has its share)."""
    runs = {(name, back) for name, back, _ in STATES}
    if len(runs) == len(PAIRS):
        assert len(PAIRS) >= 40
        assert len(STATES) >= 2000, len(STATES)


class Failing(Disk):
    """A disk that fails at the n-th operation, once or from then on."""

    def __init__(self, at: int, code: int, for_good: bool) -> None:
        self.left = at
        self._code = code
        self._for_good = for_good

    def __getattribute__(self, name: str) -> object:
        if name in Disk.__dict__ and not name.startswith("_"):
            self.left -= 1
            if self.left < 0 and (self._for_good or self.left == -1):
                raise OSError(self._code, os.strerror(self._code))
        return super().__getattribute__(name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize(("name", "back"), PAIRS)
def test_a_failing_disk_loses_nothing(name: str, back: bool, for_good: bool, code: int, ram: Path) -> None:
    wanted = finished(ram / "finished", name, back)
    at = 0
    while True:
        parent = prepared(ram / f"fail-{at}", name, back)
        before = state(parent)
        disk = Failing(at, code, for_good)
        with contextlib.suppress(FixError):  # anything else is a failure of the test
            do(parent, name, back, disk)
        if disk.left >= 0:
            break
        if not for_good and not back:
            assert state(parent) == before
        recover(only(parent))
        assert state(parent) in (before, wanted)
        shutil.rmtree(parent)
        at += 1
    assert at > 5


def finished(parent: Path, name: str, back: bool) -> State:
    """Return what the run leads to when nothing goes wrong."""
    do(prepared(parent, name, back), name, back, Disk())
    return state(parent)


KILL = """
import os, signal, sys
from ckptdoctor.fixing.disk import Disk
from tests.test_fix_crash import do
from pathlib import Path

class Killed(Disk):
    left = int(sys.argv[3])
    def __getattribute__(self, name):
        if name in Disk.__dict__ and not name.startswith("_"):
            Killed.left -= 1
            if Killed.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)

do(Path(sys.argv[1]), sys.argv[2], sys.argv[4] == "back", Killed())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills in other ways")
@pytest.mark.parametrize("at", range(17))
@pytest.mark.parametrize("back", [False, True])
def test_a_killed_process_loses_nothing(at: int, back: bool, tmp_path: Path) -> None:
    name = "everything"
    parent = prepared(tmp_path / "real", name, back)
    before = state(parent)
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(parent), name, str(3 * at), "back" if back else "on"],
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    recover(only(parent))
    assert state(parent) in (before, finished(tmp_path / "finished", name, back))
