"""What a journal says is not taken on trust, and what somebody else put there is not written over."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.fixing import journal
from ckptdoctor.fixing.changes import Change, Move, Patch, Rename, Replace, Truncate
from ckptdoctor.fixing.commit import commit, recover
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.undo import undo

from ..support.crash import Recorder, after_a_crash, restore, seen, snapshot
from .test_crash import HEAD, MODEL, PARTS, RUNS, Lazy, name, place, record, recovered

SECRET = b"precious"


def downloaded(top: Path, change: Callable[[dict[str, Any]], None], state: str = "open") -> Path:
    """Return a checkpoint that comes with an entry which was never written here, and a file beside it."""
    restore(MODEL, top)
    root = top / "model"
    commit(str(root), [PARTS["patch"]], "t", Lazy())
    entry = root / ".ckptdoctor/journal/0001/entry.json"
    value = json.loads(entry.read_bytes())
    value["state"] = state
    change(value)
    entry.write_text(json.dumps(value))
    (top / "beside").write_bytes(SECRET)
    return root


def away(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry["records"][0].update(values)


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "a patch outside": away(file="../beside"),
    "a file made outside": away(kind="create", file="../beside", now=journal.digest(SECRET), now_size=8),
    "a file replaced outside": away(kind="replace", file="../beside", now=journal.digest(SECRET)),
    "a move from outside": away(kind="move", file="stolen", to="../beside"),
    "an absolute name": away(kind="create", file="/etc/hostname"),
    "our own directory": away(file=".ckptdoctor/lock"),
    "another folder": lambda entry: entry.update(id="../../..") or away(file="../beside")(entry),
    "a directory elsewhere": away(kind="rename", to="../elsewhere"),
    "no kind": away(kind="delete"),
    "no size": away(now_size="many"),
    "an unknown part": away(mode=511),
    "no records": lambda entry: entry.update(records=None),
    "no state": lambda entry: entry.update(state=["open"]),
    "not an inode": lambda entry: entry.update(inode=7),
}


@pytest.mark.parametrize("state", ["open", "undoing", "committed"])
@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_journal_that_came_with_a_download_reaches_nothing_else(
    change: Callable[[dict[str, Any]], None], state: str, tmp_path: Path
) -> None:
    root = downloaded(tmp_path / "top", change, state)
    before = seen(snapshot(tmp_path))
    with pytest.raises(FixError):
        undo(str(root)) if state == "committed" else recover(str(root))
    assert seen(snapshot(tmp_path)) == before


@pytest.mark.parametrize(
    "part",
    [".ckptdoctor", ".ckptdoctor/journal", ".ckptdoctor/journal/0001", ".ckptdoctor/journal/0001/0.was"],
)
def test_a_journal_behind_a_link_is_not_ours(part: str, tmp_path: Path) -> None:
    root = downloaded(tmp_path / "top", away())
    (root / part).rename(tmp_path / "elsewhere")
    (root / part).symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path)
    with pytest.raises(FixError, match="link"):
        recover(str(root))
    with pytest.raises(FixError, match="link"):
        commit(str(root), [PARTS["move"]], "t")
    assert {path for path in snapshot(tmp_path) if "lock" not in path} == {
        p for p in before if "lock" not in p
    }


def test_the_lock_is_not_made_behind_a_link(tmp_path: Path) -> None:
    restore(MODEL, tmp_path / "top")
    root = tmp_path / "top/model"
    (root / ".ckptdoctor").mkdir()
    (root / ".ckptdoctor/lock").symlink_to(tmp_path / "made")
    with pytest.raises(FixError, match=os.strerror(errno.ELOOP)):
        commit(str(root), [PARTS["move"]], "t")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("change", "there"),
    [
        (Patch("m.safetensors", b"headHEAD", HEAD), b"another shard, fetched again"),
        (Truncate("m.safetensors", 72, 81), b"cut short"),
    ],
    ids=["patch", "cut"],
)
def test_a_file_fetched_again_after_a_crash_is_kept(change: Change, there: bytes, tmp_path: Path) -> None:
    top = tmp_path / "top"
    restore(MODEL, top)
    recorder = Recorder(top)
    commit(str(top / "model"), [change], "t", recorder)
    *_, crashed = after_a_crash(MODEL, recorder.ops[:-3])
    restore(crashed, top)
    (top / "model/m.safetensors").write_bytes(there)
    with pytest.raises(FixError, match=r"m\.safetensors"):
        recover(place(top))
    assert (top / "model/m.safetensors").read_bytes() == there


@pytest.mark.parametrize(
    "change",
    [Replace("new.json", b"{}", None), Rename("other"), Move("config.json", "config.json.unused")],
    ids=str,
)
def test_a_snapshot_of_a_hub_cache_is_left_alone(change: Change, tmp_path: Path) -> None:
    root = tmp_path / "models--a--b/snapshots/0123"
    root.mkdir(parents=True)
    (tmp_path / "models--a--b/blobs").mkdir()
    (root / "config.json").write_bytes(b"{}")
    with pytest.raises(FixError, match="cp -rL"):
        commit(str(root), [change], "t")
    assert seen(snapshot(root)) == {"config.json": b"{}"}


@pytest.mark.parametrize("changes", RUNS[-1:] + RUNS[:7], ids=name)
def test_a_power_cut_after_a_killed_run_was_recovered(changes: tuple[Change, ...], tmp_path: Path) -> None:
    """What the killed run never synced can still be lost after ``recover`` has found it in its place."""

    class Killed(Exception):
        pass

    class Dying(Recorder):
        left = 10**9

        def _add(self, *args: Any, **kwargs: Any) -> None:
            super()._add(*args, **kwargs)
            self.left -= 1
            if self.left <= 0:
                raise Killed  # and whatever comes next fails as well, as it would for the dead

    top = tmp_path / "top"
    restore(MODEL, top)
    whole = Dying(top)
    commit(str(top / "model"), changes, "t", whole)
    repaired, count = snapshot(top), len(whole.ops)
    undo(place(top), disk=whole)
    undoing = len(whole.ops) - count
    ends = (seen(MODEL), seen(repaired))
    for start, run, length in ((MODEL, "fix", count), (repaired, "undo", undoing)):
        for stop in range(1, length + 1):
            restore(start, top)
            dying = Dying(top)
            dying.left = stop
            with pytest.raises(Killed):
                commit(str(top / "model"), changes, "t", dying) if run == "fix" else undo(
                    place(top), disk=dying
                )
            killed = dying.ops[:stop]
            recovery = Recorder(top)
            restore(_visible(start, killed), top)
            recover(place(top), recovery)
            for state in list(after_a_crash(start, [*killed, *recovery.ops]))[-12:]:
                restore(state, top)
                assert recovered(top) in ends, f"{run}, operation {stop}"


def _visible(start: Any, ops: Any) -> Any:
    """Return what programs see after ``ops``."""
    from ..support.crash import Model, _tree

    model = Model(start)
    for op in ops:
        model.apply(op)
    return _tree(model.seen, model.files)


class Full(Lazy):
    """A disk that has room for ``left`` more writes, and still renames, cuts and removes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __getattribute__(self, attribute: str) -> Any:
        if attribute in ("mkdir", "write", "compose", "append_from"):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().__getattribute__(attribute)


def test_a_disk_that_stays_full_changes_nothing(tmp_path: Path) -> None:
    top = tmp_path / "top"
    doing, _, _, _ = record(top, RUNS[-1])
    room = sum(op.name in ("mkdir", "write") for op in doing)
    for left in range(room):
        restore(MODEL, top)
        with pytest.raises(FixError, match="nothing was changed"):
            commit(str(top / "model"), RUNS[-1], "t", Full(left))
        assert seen(snapshot(top)) == seen(MODEL), f"after {left} writes"
