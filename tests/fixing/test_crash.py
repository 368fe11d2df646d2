"""A repair, or its undoing, that is cut short leaves the checkpoint wholly as it was or wholly as it was to be."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.fixing import journal
from ckptdoctor.fixing.changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from ckptdoctor.fixing.commit import commit, recover
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.undo import undo

from ..support.crash import Op, Recorder, Tree, after_a_crash, restore, seen, snapshot

CONFIG, INDEX = b'{"a": 1}\n', b'{"weight_map": {"x": "m.safetensors"}}\n'
HEAD, DATA, TAIL = b"HEADhead", bytes(range(64)), b"trailing!"
MODEL: Tree = {
    "model": None,
    "model/config.json": CONFIG,
    "model/index.json": INDEX,
    "model/m.safetensors": HEAD + DATA + TAIL,
    "model/n.safetensors": HEAD + DATA,
    "model/spare.json": b"{}",
}

PARTS: dict[str, Change] = {
    "cut": Truncate("m.safetensors", len(HEAD + DATA), len(HEAD + DATA + TAIL)),
    "patch": Patch("m.safetensors", b"headHEAD", HEAD),
    "splice": Splice("n.safetensors", b"a longer header", HEAD),
    "replace": Replace("config.json", b'{"a": 2, "b": 3}\n', CONFIG),
    "move": Move("spare.json", "spare.json.unused"),
    "create": Replace("new.json", b'{"new": true}\n', None),
    "rename": Rename("model-bnb-4bit"),
}
RUNS: list[tuple[Change, ...]] = [
    tuple(PARTS[name] for name in names) for size in (1, 2, len(PARTS)) for names in combinations(PARTS, size)
]
"""29 repairs, and as many undoings."""


def name(changes: Sequence[Change]) -> str:
    return "+".join(key for key, part in PARTS.items() if part in changes) if len(changes) < 3 else "all"


class Lazy(Disk):
    """A disk that waits for no platter: recovery is judged by what it does."""

    def sync(self, path: str) -> None:
        pass


class Failing(Lazy):
    """A disk whose n-th operation fails, and every later one too if ``lasting``."""

    def __init__(self, at: int, code: int, lasting: bool = False) -> None:
        self.left = at
        self.code = code
        self.lasting = lasting
        self.failed = False

    def __getattribute__(self, attribute: str) -> Any:
        found = super().__getattribute__(attribute)
        if attribute in OPERATIONS:
            self.left -= 1
            if self.left < 0 and (self.lasting or not self.failed):
                self.failed = True
                raise OSError(self.code, os.strerror(self.code))
        return found


OPERATIONS = frozenset(key for key, value in vars(Disk).items() if callable(value))


def record(top: Path, changes: Sequence[Change]) -> tuple[list[Op], Tree, list[Op], Tree]:
    """Return the operations of a repair, what it made, and those of its undoing and what that made."""
    restore(MODEL, top)
    doing, undoing = Recorder(top), Recorder(top)
    commit(str(top / "model"), changes, "t", doing)
    repaired = snapshot(top)
    undo(place(top), disk=undoing)
    return doing.ops, repaired, undoing.ops, snapshot(top)


def told(error: FixError, code: int) -> None:
    assert os.strerror(code) in str(error)


def place(top: Path) -> str:
    """Return the checkpoint's directory, whatever its name is."""
    (root,) = top.iterdir()
    return str(root)


def recovered(top: Path) -> Tree:
    """Recover as the next run does, twice, and return what the owner sees."""
    for _ in range(2):
        recover(place(top), Lazy())
    root = place(top)
    assert all(entry.state in ("committed", "undone") for entry in journal.entries(root))
    return seen(snapshot(top))


def whole(state: Tree, top: Path, ends: Sequence[Tree]) -> bool:
    restore(state, top)
    return recovered(top) in ends


def runs(top: Path) -> Iterator[tuple[str, Tree, list[Op], Sequence[Tree]]]:
    for changes in RUNS:
        doing, repaired, undoing, _ = record(top, changes)
        ends = (seen(MODEL), seen(repaired))
        yield f"fix {name(changes)}", MODEL, doing, ends
        yield f"undo {name(changes)}", repaired, undoing, ends


@pytest.mark.slow
def test_every_legal_crash_state_recovers_wholly(tmp_path: Path) -> None:
    top = tmp_path / "top"
    broken: list[str] = []
    states = count = 0
    for title, start, ops, ends in runs(top):
        count += 1
        for state in after_a_crash(start, ops):
            states += 1
            if not whole(state, top, ends):
                broken.append(title)
    assert not broken, (len(broken), sorted(set(broken)))
    assert count >= 40
    assert states >= 2000


@pytest.mark.slow
@pytest.mark.parametrize("changes", RUNS[-1:] + RUNS[:7], ids=name)
def test_a_crash_of_the_recovery_is_recovered_from(changes: Sequence[Change], tmp_path: Path) -> None:
    top = tmp_path / "top"
    doing, repaired, _, _ = record(top, changes)
    for stop in range(len(doing)):
        states = list(after_a_crash(MODEL, doing[: stop + 1]))
        start = states[-1]
        restore(start, top)
        recorder = Recorder(top)
        recover(place(top), recorder)
        for state in list(after_a_crash(start, recorder.ops))[::7]:
            assert whole(state, top, (seen(MODEL), seen(repaired)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "broken", "read-only"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
def test_an_operation_that_fails_loses_nothing(code: int, lasting: bool, tmp_path: Path) -> None:
    top = tmp_path / "top"
    changes = RUNS[-1]
    doing, repaired, undoing, _ = record(top, changes)
    ends = (seen(MODEL), seen(repaired))
    for at in range(len(doing) + 1):
        restore(MODEL, top)
        disk = Failing(at, code, lasting)
        try:
            commit(str(top / "model"), changes, "t", disk)
        except FixError as error:
            told(error, code)
            if not lasting:
                assert seen(snapshot(top)) == ends[0], f"operation {at}"
        assert recovered(top) in ends, f"operation {at}"
    for at in range(len(undoing) + 1):
        restore(repaired, top)
        try:
            undo(place(top), disk=Failing(at, code, lasting))
        except FixError as error:
            told(error, code)
        assert recovered(top) in ends, f"undo, operation {at}"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that it forks")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    top = tmp_path / "top"
    _, repaired, _, _ = record(top, RUNS[-1])
    ends = (seen(MODEL), seen(repaired))
    dice = random.Random(6)
    killed = 0
    for turn in range(400):
        restore(repaired if turn % 2 else MODEL, top)
        child = os.fork()
        if child == 0:
            try:
                if turn % 2:
                    undo(place(top))
                else:
                    commit(str(top / "model"), RUNS[-1], "t")
            finally:
                os._exit(0)
        time.sleep(dice.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        assert recovered(top) in ends, f"turn {turn}"
        if killed >= 40:
            break
    assert killed >= 30


def test_undo_after_a_crash_finishes_what_was_interrupted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    doing, _, _, _ = record(top, RUNS[-1])
    *_, state = after_a_crash(MODEL, doing[:-3])
    restore(state, top)
    assert any(entry.state == "open" for entry in journal.entries(place(top)))
    assert undo(place(top)).root == str(top / "model")
    assert seen(snapshot(top)) == seen(MODEL)
