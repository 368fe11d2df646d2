"""A repair, or its undoing, that is cut short leaves the checkpoint wholly as it was or wholly as it was to be."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.fixing import journal
from ckptdoctor.fixing.changes import Change, Patch, Splice, Truncate
from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.recovery import interrupted, outlook, recover
from ckptdoctor.fixing.undo import undo

from ..support.crash import after_a_crash, restore, seen, snapshot, visible
from ..support.disks import KINDS, Faulty, Killed, Lazy, Recorder
from . import faults
from .repairs import (
    CONFIG,
    DATA,
    FEW,
    HEAD,
    LONGER,
    MODEL,
    OTHER,
    PARTS,
    RUNS,
    TAIL,
    place,
    record,
    recovered,
)


@pytest.mark.parametrize("run", [*FEW, "cut, splice and move", "move and take its name"])
def test_a_sample_of_all_faults_leaves_it_wholly_before_or_after(run: str) -> None:
    """The whole: ``python -m tests.fixing.faults --all``."""
    counts, wrong = faults.checked(run, 0.02)
    assert not wrong
    assert counts.total() > 10


def test_the_faults_are_those_that_they_say(tmp_path: Path) -> None:
    """Each kind stops a repair, or (a short write) does not; else its points would prove nothing."""
    top = tmp_path / "top"
    for kind in KINDS:
        stopped = met = 0
        for at in range(0, 60, 3):
            restore(MODEL, top)
            disk = Faulty(at, kind)
            try:
                commit(place(top), RUNS["all"], "t", disk)
            except (FixError, Killed, KeyboardInterrupt):
                stopped += 1
            met += disk.met
        assert met, kind
        assert (stopped == 0) == (kind == "short"), kind


def test_a_fault_that_is_not_taken_back_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge of the points can say no."""
    bench = faults.Bench(tmp_path / "top", "patch+replace")
    monkeypatch.setattr(faults, "recovered", lambda top: seen(snapshot(top)))
    wrong = {bench.fails(faults.Point("patch+replace", "fix", "kill", at)) for at in range(55)}
    assert "a mixed state after recovery" in wrong


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that it forks")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    top = tmp_path / "top"
    _, repaired, _, _ = record(top, RUNS["all"])
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
                    commit(str(top / "model"), RUNS["all"], "t")
            finally:
                os._exit(0)
        time.sleep(dice.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        assert recovered(top) in ends, f"turn {turn}"
        if killed >= 40:
            break
    assert killed >= 30


def stopped(top: Path, run: str, before_the_end: int = 3) -> Path:
    """Return a checkpoint whose repair was killed that many operations before its end."""
    doing, _, _, _ = record(top, RUNS[run])
    restore(visible(MODEL, doing[:-before_the_end]), top)
    return Path(place(top))


def test_undo_after_a_crash_finishes_what_was_interrupted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    root = stopped(top, "all")
    (entry,) = interrupted(str(root))
    told = "\n".join(outlook(str(root), entry))
    for words in ("config.json is what it was", "new.json, which the repair made, goes", "its last 9 bytes"):
        assert words in told
    assert "spare.json.unused is called spare.json again" in told
    assert undo(str(root)).root == str(top / "model")
    assert snapshot(top) == MODEL


@pytest.mark.parametrize(
    ("run", "there"),
    [("patch", b"another shard, fetched again".ljust(200)), ("cut", b"cut short"), ("replace", b"{}")],
)
def test_a_file_fetched_again_after_a_crash_is_kept_and_blocks_nothing(
    run: str, there: bytes, tmp_path: Path
) -> None:
    root = stopped(tmp_path / "top", run)
    file = root / getattr(PARTS[run], "file", "")
    file.write_bytes(there)
    with pytest.raises(FixError, match=r"undo --forget"):
        undo(str(root))
    done = undo(str(root), forget=True)
    assert file.read_bytes() == there
    assert [file.name in reason for reason in done.left] == [True]
    assert (root / done.kept / "0.was").exists()
    with pytest.raises(FixError, match="got none"):
        undo(str(root))
    assert commit(str(root), [PARTS["move"]], "t").id == "0002"


def test_what_stands_in_the_way_is_set_aside(tmp_path: Path) -> None:
    root = stopped(tmp_path / "top", "move")
    (root / "spare.json").write_bytes(b"mine")
    (note,) = recover(str(root)).notes
    assert "spare.json.unused.2" in note
    assert (root / "spare.json").read_bytes() == b"{}"
    assert (root / "spare.json.unused.2").read_bytes() == b"mine"
    assert not (root / ".ckptdoctor").exists()


def test_a_name_that_is_taken_is_not_taken_over(tmp_path: Path) -> None:
    root = stopped(tmp_path / "top", "rename", 2)
    assert root.name == "model-bnb-4bit"
    (root.parent / "model").mkdir()
    (root.parent / "model/mine").write_bytes(b"")
    done = recover(str(root))
    assert done.root == str(root)
    assert "keeps its name" in done.notes[0]


_CUT: dict[str, tuple[Change, ...]] = {
    "patch": (Patch("m.safetensors", OTHER, HEAD), Patch("n.safetensors", OTHER, HEAD)),
    "cut": (PARTS["cut"], PARTS["replace"]),
}


class Broken(Lazy):
    """A disk that cannot write in place any more once it has; elsewhere it can."""

    done = False

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        if self.done:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().overwrite(path, offset, content)
        self.done = True

    def append_from(self, path: str, offset: int, source: str) -> None:
        if not path.endswith(".back"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().append_from(path, offset, source)

    def rename(self, path: str, to: str) -> None:
        if to.endswith("config.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().rename(path, to)


@pytest.mark.parametrize("changes", _CUT.values(), ids=_CUT)
def test_what_cannot_be_taken_back_in_place_is_written_anew(
    changes: tuple[Change, ...], tmp_path: Path
) -> None:
    top = tmp_path / "top"
    restore(MODEL, top)
    with pytest.raises(FixError, match="nothing was changed"):
        commit(place(top), changes, "t", Broken())
    assert snapshot(top) == MODEL


def test_a_permission_that_goes_after_the_first_change_does_not_matter(tmp_path: Path) -> None:
    """What was opened before stays open, and is changed back by that."""
    top = tmp_path / "top"
    restore(MODEL, top)

    class Shut(Lazy):
        def call(self, function: Callable[..., Any], *args: Any) -> Any:
            if (
                function is os.open
                and str(args[0]).endswith(".safetensors")
                and args[1] & os.O_RDWR
                and self.written
            ):
                raise PermissionError(errno.EACCES, "Permission denied")
            return super().call(function, *args)

        written = 0

        def overwrite(self, path: str, offset: int, content: bytes) -> None:
            self.written += 1
            if self.written == 2:
                raise OSError(errno.EIO, "no")
            super().overwrite(path, offset, content)

    changes = (PARTS["patch"], Patch("n.safetensors", OTHER, HEAD))
    with pytest.raises(FixError, match="nothing was changed"):
        commit(place(top), changes, "t", Shut())
    assert snapshot(top) == MODEL


@pytest.mark.parametrize("run", FEW)
def test_a_power_cut_after_a_killed_run_was_recovered(run: str, tmp_path: Path) -> None:
    """What the killed run never synced can still be lost after ``recover`` has found it in its place."""
    top = tmp_path / "top"
    doing, repaired, undoing, _ = record(top, RUNS[run])
    ends = (seen(MODEL), seen(repaired))
    for start, ops in ((MODEL, doing), (repaired, undoing)):
        for stop in range(1, len(ops), 3):
            restore(visible(start, ops[:stop]), top)
            recovery = Recorder(top)
            recover(place(top), recovery)
            for state in list(after_a_crash(start, [*ops[:stop], *recovery.ops]))[-12:]:
                restore(state, top)
                assert recovered(top) in ends, f"operation {stop}"


def test_a_power_cut_in_the_recovery_of_an_undo_that_was_killed_before_its_first_sync(tmp_path: Path) -> None:
    """It is "undoing" to the recovery, and may be "committed" again after the power cut."""
    bench = faults.Bench(tmp_path / "top", "cut")
    wrong = [
        bench.fails(point)
        for point in bench.points()
        if (point.phase, point.kind, point.before) == ("recovery of undo", faults.POWER, 3)
    ]
    assert len(wrong) > 2
    assert not any(wrong)


def test_a_disk_that_stays_full_changes_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    top = tmp_path / "top"
    refused = 0
    for at in range(100):
        restore(MODEL, top)
        try:
            commit(place(top), RUNS["all"], "t", Faulty(at, "full"))
        except FixError as error:
            refused += "No space left on device" in str(error)
        if not journal.entries(place(top)):
            assert snapshot(top) == MODEL, f"call {at}"
    assert refused > 20


def test_undo_needs_room_only_for_weights_that_come_back(tmp_path: Path) -> None:
    top = tmp_path / "top"
    restore(MODEL, top)
    commit(place(top), [part for name, part in PARTS.items() if name not in ("splice", "cut")], "t")
    undo(place(top), disk=Faulty(0, "full"))
    assert snapshot(top) == MODEL


def test_sizes_and_heads_of_the_model_are_what_the_changes_say() -> None:
    assert MODEL["model/m.safetensors"] == HEAD + DATA + TAIL
    assert MODEL["model/config.json"] == CONFIG
    assert PARTS["splice"] == Splice("n.safetensors", LONGER, HEAD)
    assert isinstance(PARTS["cut"], Truncate)
