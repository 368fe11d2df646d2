"""However a re-save ends, the source is as it was, OUT is absent or whole, and --resume gives the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ckptdoctor.resaving.copying import Copier
from ckptdoctor.resaving.nouns import ResaveError, ResaveUsage
from ckptdoctor.resaving.planning import Wanted
from ckptdoctor.resaving.writing import Writer
from ckptdoctor.sources.base import Unavailable
from tests.conftest import ROOT

from .made import SOUND, contents, planned, resaved, shard, tensors

T = TypeVar("T")
NAME = "llama-nf4-sharded"


class Failing(Copier):
    """Fails at call number ``at``; ``kernel`` says whether the kernel copies."""

    def __init__(self, at: int, error: BaseException, kernel: bool = True) -> None:
        super().__init__()
        self.at, self.error, self.count = at, error, 0
        self.kernel = kernel

    def call(self, function: Callable[..., T], *args: object) -> T:
        self.count += 1
        if self.count == self.at:
            raise self.error
        return super().call(function, *args)


@pytest.mark.parametrize("kernel", [True, False])
def test_any_call_may_fail(kernel: bool, tmp_path: Path) -> None:
    resaved(SOUND / NAME, tmp_path / "whole", Wanted(0))
    whole, before = contents(tmp_path / "whole"), contents(SOUND / NAME)
    at = 0
    while True:
        at += 1
        out = tmp_path / f"out{at}"
        disk = Failing(at, OSError(errno.ENOSPC, "full"), kernel)
        try:
            resaved(SOUND / NAME, out, Wanted(0), disk=disk)
        except OSError:
            done = out.exists()
            assert not done or contents(out) == whole, at
            if not done:
                resaved(SOUND / NAME, out, Wanted(0), resume=True)
        else:
            assert disk.count < at
            break
        assert contents(out) == whole, at
    assert at > 30
    assert contents(SOUND / NAME) == before
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert not [name for name in left if not name.endswith(".json")], left


def killed(tmp_path: Path, times: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.resaving.killed", str(tmp_path), str(times), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "interrupted 0 times" not in done.stdout


def test_killed_at_random_moments(tmp_path: Path) -> None:
    killed(tmp_path, 12, 1)


@pytest.mark.slow
def test_killed_at_two_hundred_random_moments(tmp_path: Path) -> None:
    killed(tmp_path, 200, 2)


def begun(tmp_path: Path, at: int = 25) -> Path:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="full"):
        resaved(SOUND / NAME, out, Wanted(0), disk=Failing(at, OSError(errno.ENOSPC, "full")))
    assert not out.exists()
    return out


def test_what_was_begun_is_not_overwritten_unasked(tmp_path: Path) -> None:
    out = begun(tmp_path)
    with pytest.raises(ResaveUsage, match="--resume"):
        resaved(SOUND / NAME, out, Wanted(0))
    with pytest.raises(ResaveUsage, match="other options"):
        resaved(SOUND / NAME, out, Wanted(90_000), resume=True)
    resaved(SOUND / NAME, out, Wanted(0), resume=True)


def test_a_source_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(SOUND / NAME, source)
    out = tmp_path / "out"
    with pytest.raises(OSError, match="full"):
        resaved(source, out, disk=Failing(25, OSError(errno.ENOSPC, "full")))
    os.utime(source / "config.json", (1, 1))
    with pytest.raises(ResaveUsage, match="other files"):
        resaved(source, out, resume=True)


def test_what_lies_in_the_way_of_the_work_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out.resave").symlink_to(tmp_path / "elsewhere")
    for resume in (False, True):
        with pytest.raises(ResaveUsage, match="got a link"):
            resaved(SOUND / NAME, tmp_path / "out", resume=resume)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_source_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(SOUND / NAME, root)
    source, plan, place = planned(root, tmp_path / "out")
    writer = Writer(
        plan, place, source.descriptor, lambda done, total: os.utime(root / "config.json", (1, 1))
    )
    with pytest.raises(ResaveError, match=r"config\.json changed while it was read"):
        writer.write(resume=False)
    assert not (tmp_path / "out").exists()


def test_what_lies_in_the_work_is_looked_at_before_it_is_gone_on_with(tmp_path: Path) -> None:
    out = begun(tmp_path, at=60)  # all is there but the name
    written = next((tmp_path / ".out.resave").glob("*.safetensors"))
    raw = bytearray(written.read_bytes())
    raw[20] ^= 1
    written.write_bytes(raw)
    with pytest.raises(ResaveError, match="not what was written there"):
        resaved(SOUND / NAME, out, Wanted(0), resume=True)
    assert not out.exists()


def test_few_files_of_the_source_are_open_at_once(tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    for number in range(1, 101):
        shard(root / f"model-{number:05d}-of-00100.safetensors", {f"t{number}": ("U8", [1], b"x")})
    source, plan, place = planned(root, tmp_path / "out", Wanted(0))
    given: set[int] = set()

    def opened(name: str) -> int | Unavailable:
        found = source.descriptor(name)
        assert isinstance(found, int)
        given.add(found)  # the number of a file that was closed is given again
        return found

    Writer(plan, place, opened, lambda done, total: None).write(resume=False)
    assert len(given) < 70
    assert len(tensors(tmp_path / "out")) == 100


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    class Lying(Copier):
        def call(self, function: Callable[..., T], *args: object) -> T:
            if function is os.write:
                changed = bytearray(args[1])  # type: ignore[call-overload]
                changed[-1] ^= 1
                args = (args[0], bytes(changed) if len(changed) > 60_000 else args[1])
            return super().call(function, *args)

    disk = Lying()
    with pytest.raises(ResaveError, match="read back"):
        resaved(SOUND / NAME, tmp_path / "out", disk=disk)
    assert not (tmp_path / "out").exists()


def test_places_that_will_not_do(tmp_path: Path) -> None:
    source = tmp_path / "a" / "source"
    shutil.copytree(SOUND / NAME, source)
    (tmp_path / "link").symlink_to(tmp_path / "new")
    (tmp_path / "file").touch()
    (tmp_path / "alias").symlink_to(source)
    for out in (
        source,
        source / "out",
        tmp_path / "a",
        tmp_path / "link",
        tmp_path / "file",
        tmp_path / "x" / "y",
        tmp_path / "alias" / "out",
    ):
        with pytest.raises(ResaveUsage):
            resaved(source, out)
    (tmp_path / "empty").mkdir()
    resaved(source, tmp_path / "empty")
    assert contents(tmp_path / "empty")


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    fields = list(real)
    fields[4] = 1  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    with pytest.raises(ResaveError, match="are needed"):
        resaved(SOUND / NAME, tmp_path / "out")
    assert not list(tmp_path.iterdir())
