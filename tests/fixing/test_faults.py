"""A disk that fails at any one operation, once or for good: the repair is done or not done, and nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
from pathlib import Path

import pytest

from ckptdoctor.fixing.changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from ckptdoctor.fixing.commit import commit, recover
from ckptdoctor.fixing.disk import Disk
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.undo import undo

HEAD = struct.pack("<Q", 24) + b'{"a":{}}'.ljust(24)
SHORTER = struct.pack("<Q", 24) + b'{"b":{}}'.ljust(24)
LONGER = struct.pack("<Q", 40) + b'{"a-longer-name":{}}'.ljust(40)
DATA = bytes(range(64))
CONFIG = b'{"model_type": "llama"}'
INDEX = b'{"weight_map": {}}'

FILES = {
    "config.json": CONFIG,
    "model.safetensors.index.json": INDEX,
    "one.safetensors": HEAD + DATA,
    "two.safetensors": HEAD + DATA[::-1],
    "original/consolidated.safetensors": DATA,
}

_SET = Replace("config.json", CONFIG + b"\n", CONFIG)
_INDEX = Replace("model.safetensors.index.json", b'{"weight_map": {"a": "one.safetensors"}}', INDEX)
_NEW = Replace("generation_config.json", b"{}", None)
_PATCH = Patch("one.safetensors", SHORTER, HEAD)
_SPLICE = Splice("one.safetensors", LONGER, HEAD)
_CUT = Truncate("one.safetensors", len(HEAD) + 60, len(HEAD) + 64)
_MOVE = Move("two.safetensors", "two.safetensors.unused")
_SUB = Move("original/consolidated.safetensors", "original/consolidated.safetensors.unused")
_UP = Move("original/consolidated.safetensors", "three.safetensors")
_AWAY = Rename("model-bnb-4bit")

RUNS: dict[str, tuple[Change, ...]] = {
    "replace": (_SET,),
    "create": (_NEW,),
    "patch": (_PATCH,),
    "splice": (_SPLICE,),
    "splice to a shorter head": (Splice("one.safetensors", HEAD[:8] + b"{}", HEAD),),
    "truncate": (_CUT,),
    "move": (_MOVE,),
    "move below": (_SUB,),
    "move up": (_UP,),
    "rename": (_AWAY,),
    "two texts": (_SET, _INDEX),
    "text and patch": (_PATCH, _SET),
    "two patches": (_PATCH, Patch("two.safetensors", SHORTER, HEAD)),
    "two splices and the index": (_SPLICE, Splice("two.safetensors", LONGER, HEAD), _INDEX),
    "cut and patch": (_CUT, _PATCH),
    "cut and splice": (_CUT, _SPLICE),
    "cut, splice and move": (_CUT, _SPLICE, Move("one.safetensors", "model.safetensors")),
    "move and take its name": (
        Move("config.json", "config.json.unused"),
        Replace("config.json", b"{}", None),
    ),
    "two moves": (_MOVE, _UP),
    "text and rename": (_SET, _AWAY),
    "move and rename": (_SUB, _AWAY),
    "everything": (_CUT, _SPLICE, Patch("two.safetensors", SHORTER, HEAD), _SET, _INDEX, _UP, _NEW, _AWAY),
}


def make(parent: Path) -> Path:
    """Write the checkpoint ``model`` below ``parent``."""
    root = parent / "model"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


State = tuple[str, tuple[tuple[str, bytes], ...]]


def state(parent: Path) -> State:
    """Return the name of the one directory in ``parent`` and all its files but ckptdoctor's own."""
    (root,) = [path for path in parent.iterdir() if path.is_dir()]
    files = sorted(
        (path.relative_to(root).as_posix(), path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and ".ckptdoctor" not in path.parts
    )
    return root.name, tuple(files)


def only(parent: Path) -> str:
    """Return the path of the one directory in ``parent``."""
    (root,) = [path for path in parent.iterdir() if path.is_dir()]
    return os.fspath(root)


PAIRS = [(name, back) for name in RUNS for back in (False, True)]


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
def test_a_failing_disk_loses_nothing(
    name: str, back: bool, for_good: bool, code: int, tmp_path: Path
) -> None:
    wanted = finished(tmp_path / "finished", name, back)
    at = 0
    while True:
        parent = prepared(tmp_path / f"fail-{at}", name, back)
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
