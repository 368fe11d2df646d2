"""What lies in a ``.ckptdoctor/`` counts only if it was written here; nothing else there does or blocks anything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.fixing.changes import Change, Move, Rename, Replace
from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.recovery import interrupted, recover
from ckptdoctor.fixing.undo import undo
from ckptdoctor.sources import ownership

from ..support.crash import restore, seen, snapshot
from ..support.disks import Lazy
from .repairs import MODEL, PARTS, RUNS, record

SECRET = b"precious"


def entry_of(root: Path) -> Path:
    (entry,) = (root / ".ckptdoctor/journal").iterdir()
    return entry


def changed(entry: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads((entry / "entry.json").read_bytes())
    change(value["entry"])
    (entry / "entry.json").write_text(json.dumps(value))


def repaired(top: Path, run: str = "patch") -> Path:
    """Return a checkpoint that was repaired here, with a file beside it."""
    restore(MODEL, top)
    root = Path(commit(str(top / "model"), RUNS[run], "t", Lazy()).root)
    (top / "beside").write_bytes(SECRET)
    return root


def downloaded(top: Path, records: Sequence[dict[str, Any]], state: str = "open", **values: Any) -> Path:
    """Return a checkpoint that comes with an entry as ckptdoctor once wrote them, without a MAC."""
    restore(MODEL, top)
    entry = top / "model/.ckptdoctor/journal/0001"
    entry.mkdir(parents=True)
    inode = (top / "model").stat().st_ino
    value = {
        "id": "0001",
        "title": "t",
        "state": state,
        "root": str(top / "model"),
        "inode": [0, inode],
        **values,
    }
    (entry / "entry.json").write_text(json.dumps({**value, "records": records}))
    (top / "beside").write_bytes(SECRET)
    return top / "model"


def made(file: str, content: bytes) -> dict[str, Any]:
    from hashlib import sha256

    return {"kind": "create", "file": file, "now": sha256(content).hexdigest(), "now_size": len(content)}


def nothing_done(root: Path, before: dict[str, bytes | None]) -> None:
    """Every command leaves everything as it is, does its own work, and says what it does not use."""
    top = root.parent
    assert interrupted(str(root)) == []
    assert recover(str(root)) == (str(root), ())
    assert snapshot(top) == before
    for forget in (False, True):
        with pytest.raises(FixError, match="expected a repair to take back, got none"):
            undo(str(root), forget=forget)
    assert snapshot(top) == before
    assert ownership.foreign(str(root)) != []
    commit(str(root), [PARTS["replace"]], "mine", Lazy())
    undo(str(root), disk=Lazy())
    assert snapshot(top) == before


SHARDS = [name for name in MODEL if name.endswith(".safetensors")]


@pytest.mark.parametrize("state", ["open", "undoing", "committed", "undone"])
def test_forged_entries_delete_no_weights_and_make_no_ssh_folder(state: str, tmp_path: Path) -> None:
    """The two attacks of review-2, S1, as they were made."""
    weights = [made(name.removeprefix("model/"), MODEL[name] or b"") for name in SHARDS]
    root = downloaded(tmp_path / "deleted", weights, state)
    nothing_done(root, snapshot(root.parent))
    rename = [{"kind": "rename", "to": "model"}]
    root = downloaded(tmp_path / "renamed", rename, state, root="/home/victim/.ssh")
    (root / "authorized_keys").write_bytes(b"ssh-ed25519 AAAA attacker")
    nothing_done(root, snapshot(root.parent))
    assert not (root.parent / ".ssh").exists()


def _infinite(entry: dict[str, Any]) -> None:
    entry["records"][0]["now_size"] = float("inf")


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "open again": lambda entry: entry.update(state="open"),
    "a file outside": lambda entry: entry["records"][0].update(file="../beside"),
    "an absolute name": lambda entry: entry["records"][0].update(file="/etc/hostname"),
    "another kind": lambda entry: entry["records"][0].update(kind="create"),
    "another digest": lambda entry: entry["records"][0].update(now="0" * 64),
    "another directory": lambda entry: entry.update(root="/home/victim/.ssh"),
    "another inode": lambda entry: entry.update(inode=7),
    "infinite": _infinite,
    "2**70": lambda entry: entry["records"][0].update(now_size=2**70),
    "NUL": lambda entry: entry["records"][0].update(file="a\0b"),
    "no records": lambda entry: entry.update(records=None),
    "no state": lambda entry: entry.update(state=["open"]),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_an_entry_of_ours_that_was_changed_counts_no_more(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    root = repaired(tmp_path / "top")
    changed(entry_of(root), change)
    before = snapshot(root.parent)
    assert interrupted(str(root)) == []
    with pytest.raises(FixError, match="got none"):
        undo(str(root))
    assert snapshot(root.parent) == before


CONTENTS = {
    "deep": b"[" * 100_000,
    "large": b'{"a": "' + b"x" * 3_000_000,
    "huge numbers": b'{"mac": 1e999, "entry": {"inode": 1180591620717411303424}}',
    "no JSON": b"\0\xff",
    "empty": b"",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_no_entry_says_is_no_matter(content: bytes, tmp_path: Path) -> None:
    root = downloaded(tmp_path / "top", [])
    for name in ("0001", entry_name(root)):
        place = root / ".ckptdoctor/journal" / name
        place.mkdir(exist_ok=True)
        (place / "entry.json").write_bytes(content)
    before = snapshot(root.parent)
    nothing_done(root, before)


def entry_name(root: Path) -> str:
    known = ownership.key(make=True)
    assert known is not None
    return ownership.name(1, root.stat().st_ino, known)


def test_an_entry_of_another_directory_or_another_user_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repaired(tmp_path / "top")
    shutil.copytree(root, tmp_path / "copy" / "model")
    nothing_done(tmp_path / "copy" / "model", snapshot(tmp_path / "copy"))
    monkeypatch.setenv("CKPTDOCTOR_STATE", str(tmp_path / "of another"))
    nothing_done(root, snapshot(tmp_path / "top"))


def test_an_entry_counts_wherever_its_directory_goes(tmp_path: Path) -> None:
    root = repaired(tmp_path / "top").rename(tmp_path / "moved")
    assert undo(str(root)).root == str(root)
    assert not (root / ".ckptdoctor").exists()


@pytest.mark.parametrize("part", [".ckptdoctor", ".ckptdoctor/journal"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_directory_is_refused_by_fix_and_left_by_all(part: str, kind: str, tmp_path: Path) -> None:
    root = repaired(tmp_path / "top")
    (root / part).rename(tmp_path / "elsewhere")
    if kind == "link":
        (root / part).symlink_to(tmp_path / "elsewhere")
    else:
        (root / part).write_bytes(b"")
    before = snapshot(tmp_path)
    recover(str(root))
    with pytest.raises(FixError, match="got none"):
        undo(str(root))
    with pytest.raises(FixError, match=f"a {kind}; remove it"):
        commit(str(root), [PARTS["move"]], "t")
    assert snapshot(tmp_path) == before
    assert ownership.foreign(str(root)) == [part]


def test_entries_are_numbered_past_those_of_strangers(tmp_path: Path) -> None:
    root = downloaded(tmp_path / "top", [])
    for name in ("0007-0123456789abcdef", "9" * 5000 if os.name == "nt" else "9" * 200, "x"):
        (root / ".ckptdoctor/journal" / name).mkdir()
    assert commit(str(root), [PARTS["move"]], "t").id == "0008"
    assert commit(str(root), [PARTS["replace"]], "t").id == "0009"
    assert undo(str(root)).id == "0009"


def test_nothing_of_ours_is_left_when_all_is_undone(tmp_path: Path) -> None:
    root = repaired(tmp_path / "top")
    (root / ".ckptdoctor/mine").write_bytes(b"mine")
    commit(str(root), [PARTS["replace"]], "t")
    undo(str(root))
    undo(str(root))
    assert snapshot(root)[".ckptdoctor/mine"] == b"mine"
    assert [path for path in snapshot(root) if path.startswith(".ckptdoctor/")] == [".ckptdoctor/mine"]


def test_undo_with_nothing_to_undo_writes_nothing(tmp_path: Path) -> None:
    restore(MODEL, tmp_path / "top")
    root = tmp_path / "top/model"
    root.chmod(0o755)
    before = root.stat().st_mtime_ns
    with pytest.raises(FixError, match="got none"):
        undo(str(root))
    assert snapshot(root.parent) == MODEL
    assert root.stat().st_mtime_ns == before


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
    assert snapshot(root) == {"config.json": b"{}"}


@pytest.mark.parametrize("run", ["patch", "cut", "splice", "replace", "move"])
def test_undo_writes_through_no_second_name(run: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    record(top, RUNS[run])
    root = repaired(top, run)
    file = getattr(PARTS[run], "to", "") or getattr(PARTS[run], "file", "")
    os.link(root / file, tmp_path / "other")
    before = (snapshot(top), (tmp_path / "other").read_bytes())
    with pytest.raises(FixError, match="one with 2"):
        undo(str(root))
    assert (snapshot(top), (tmp_path / "other").read_bytes()) == before
    assert seen(snapshot(top)) != seen(MODEL)
