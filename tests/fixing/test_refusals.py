"""When `fix` and `undo` must not write: a clear refusal, and the directory as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ckptdoctor.checkpoint import load
from ckptdoctor.fixing.changes import Change, Patch, Rename, Replace
from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.edits import to_changes
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.guard import locked
from ckptdoctor.fixing.undo import undo
from ckptdoctor.model import TensorRename
from ckptdoctor.sources import open_source

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
    before = seen(snapshot(model.parent))
    with pytest.raises(FixError) as caught:
        commit(str(model), [refusal.change], "t")
    assert refusal.because in str(caught.value)
    assert seen(snapshot(model.parent)) == before


def test_no_room(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(model)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FixError, match="bytes of free space, got 1,000; make room first"):
        commit(str(model), [SET], "t")
    assert (model / "config.json").read_bytes() == CONFIG


def test_two_at_once(model: Path) -> None:
    with locked(str(model), Disk()), pytest.raises(FixError, match="another ckptdoctor is writing there"):
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
