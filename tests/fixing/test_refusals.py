"""When `fix` and `undo` must not write: a clear refusal, and the directory as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ckptdoctor.fixing.changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.edits import to_changes
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.lock import locked
from ckptdoctor.fixing.undo import undo
from ckptdoctor.model import TensorRename
from ckptdoctor.sources import open_source
from tests.support.shipped import load

from ..support.crash import restore, seen, snapshot

HEAD, DATA, CONFIG = b"HEADhead", bytes(range(64)), b'{"a": 1}\n'
SET = Replace("config.json", b'{"a": 2}\n', CONFIG)
PATCH = Patch("m.safetensors", b"headHEAD", HEAD)


class Refusal(NamedTuple):
    prepare: Callable[[Path], object]
    change: Change
    because: str


def linked_into_a_cache(model: Path) -> None:
    blob = model.parent / "blobs"
    (model / "m.safetensors").rename(blob)
    (model / "m.safetensors").symlink_to(blob)


REFUSALS = {
    "hard link": Refusal(
        lambda model: os.link(model / "m.safetensors", model.parent / "other"),
        PATCH,
        "one with 2: the others",
    ),
    "Hub cache": Refusal(linked_into_a_cache, PATCH, "a link (as in a Hub cache"),
    "file changed since": Refusal(
        lambda model: (model / "config.json").write_bytes(b'{"a": 3}\n'), SET, "got another. It changed after"
    ),
    "header changed since": Refusal(
        lambda model: (model / "m.safetensors").write_bytes(b"0" * 80), PATCH, "the header that was checked"
    ),
    "file gone": Refusal(lambda model: (model / "config.json").unlink(), SET, "got none"),
    "name taken": Refusal(
        lambda model: shutil.copytree(model, model.parent / "new"),
        Rename("new"),
        "expected that name to be free",
    ),
    "out of the directory": Refusal(
        lambda model: None, Replace("../x.json", b"", None), "a path that leads elsewhere"
    ),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    restore({"model": None, "model/config.json": CONFIG, "model/m.safetensors": HEAD + DATA}, top)
    return top / "model"


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_refused_with_nothing_changed(refusal: Refusal, model: Path) -> None:
    refusal.prepare(model)
    before = snapshot(model.parent)
    with pytest.raises(FixError) as caught:
        commit(str(model), [refusal.change], "t")
    assert refusal.because in str(caught.value)
    assert snapshot(model.parent) == before


def test_no_room(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(model)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FixError, match="bytes of free space, got 1,000; make room first"):
        commit(str(model), [SET], "t")
    assert (model / "config.json").read_bytes() == CONFIG


def test_two_at_once(model: Path) -> None:
    with locked(str(model)), pytest.raises(FixError, match="another ckptdoctor is writing there"):
        commit(str(model), [SET], "t")
    assert commit(str(model), [SET], "t").id == "0001"


def test_undo_keeps_what_somebody_changed_since(model: Path) -> None:
    commit(str(model), [SET, PATCH], "t")
    (model / "config.json").write_bytes(b'{"mine": true}\n')
    before = seen(snapshot(model))
    with pytest.raises(FixError, match="it was changed since"):
        undo(str(model))
    assert seen(snapshot(model)) == before


def test_a_directory_renamed_by_hand_keeps_its_new_name(model: Path) -> None:
    commit(str(model), [Rename("model-bnb-4bit")], "t")
    mine = model.with_name("my-name")
    model.with_name("model-bnb-4bit").rename(mine)
    assert undo(str(mine)).root == str(mine)
    assert (mine / "config.json").read_bytes() == CONFIG


def test_a_file_keeps_its_permissions(model: Path) -> None:
    (model / "config.json").chmod(0o640)
    commit(str(model), [SET], "t")
    assert (model / "config.json").stat().st_mode & 0o777 == 0o640
    undo(str(model))
    assert (model / "config.json").stat().st_mode & 0o777 == 0o640


SHARDS = [f"model-0000{number}-of-00004.safetensors" for number in (1, 2, 3, 4)]
LAST = SHARDS[-1]


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The four shards of a ``ddp-prefix`` repair: one header patched after the other."""
    top = tmp_path / "top"
    restore(
        {"model": None, "model/config.json": CONFIG, **{f"model/{name}": HEAD + DATA for name in SHARDS}}, top
    )
    return top / "model"


PATCHES = [Patch(name, b"headHEAD", HEAD) for name in SHARDS]


class Shut(Disk):
    """A disk on which the last shard cannot be opened for writing."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self._code = code

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if function is os.open and str(args[0]).endswith(LAST) and args[1] & (os.O_RDWR | os.O_WRONLY):
            raise OSError(self._code, os.strerror(self._code))
        return super().call(function, *args)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY, errno.EMFILE])
@pytest.mark.parametrize("change", [Patch, Truncate, Splice, Replace, Move])
def test_one_file_that_cannot_be_written_and_none_is(change: type[Change], code: int, sharded: Path) -> None:
    """EACCES: read-only or another user's; EPERM: immutable."""
    last: dict[type[Change], Change] = {
        Patch: PATCHES[-1],
        Truncate: Truncate(LAST, 70, 72),
        Splice: Splice(LAST, b"a longer head", HEAD),
        Replace: Replace(LAST, b"new", HEAD + DATA),
        Move: Move(LAST, "other"),
    }
    before = snapshot(sharded.parent)
    with pytest.raises(FixError) as caught:
        commit(str(sharded), [*PATCHES[:-1], last[change]], "t", Shut(code))
    assert f"{LAST}: expected a file that can be written, got: {os.strerror(code)}" in str(caught.value)
    assert snapshot(sharded.parent) == before


def as_somebody_else(work: Callable[[], str]) -> str:
    """Return what ``work`` returns in a child that is not root."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(12345)
            os.setuid(12345)
            os.write(write, work().encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("undoing", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_read_only_shards_are_found_before_the_first_byte(every: bool, undoing: bool) -> None:
    """As the system says it, not as a disk of ours does: S7 of review-2."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        model = top / "top" / "model"
        tree = {"model": None, **{f"model/{name}": HEAD + DATA for name in SHARDS}}

        def work(shut: bool) -> str:
            os.environ["CKPTDOCTOR_STATE"] = str(top / "top-state")
            try:
                if undoing and shut:
                    undo(str(model))
                else:
                    commit(str(model), PATCHES, "t")
            except FixError as error:
                return str(error)
            return "done"

        restore(tree, top / "top")
        (top / "top-state").mkdir(mode=0o700)
        for path in (top / "top", model, *model.iterdir(), top / "top-state"):
            os.chown(path, 12345, 12345)
        if undoing:
            assert as_somebody_else(lambda: work(False)) == "done"
        for name in SHARDS if every else [LAST]:
            (model / name).chmod(0o444)
        before = snapshot(top / "top")
        assert "expected a file that can be written" in as_somebody_else(lambda: work(True))
        assert snapshot(top / "top") == before
        for name in SHARDS:
            (model / name).chmod(0o644)
        assert as_somebody_else(lambda: work(True)) == "done"


def test_a_read_only_directory_is_found_before_the_first_byte(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(model))
    before = snapshot(model.parent)
    with pytest.raises(FixError, match="got a read-only one"):
        commit(str(model), [PATCH, SET], "t")
    assert snapshot(model.parent) == before


class Counting(Disk):
    """A disk that counts the bytes it is given."""

    written = 0

    def write(self, path: str, content: bytes) -> None:
        self.written += len(content)
        super().write(path, content)

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        self.written += len(content)
        super().overwrite(path, offset, content)

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        self.written += len(head) + Path(source).stat().st_size - skip
        super().compose(path, head, source, skip)


def test_renaming_in_a_4_gb_shard_writes_only_its_header(tmp_path: Path) -> None:
    size = 4 * 10**9
    header = json.dumps(
        {"model.model.w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    ).encode()
    shard = tmp_path / "model.safetensors"
    with shard.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    disk = Counting()
    edits = (TensorRename(shard.name, "model.model.w", "model.w"),)
    commit(str(tmp_path), to_changes(load(open_source(str(tmp_path))), edits), "t", disk)
    undo(str(tmp_path), disk=disk)
    with shard.open("rb") as file:
        assert file.read(8 + len(header))[8:] == header
    assert disk.written < 10_000
