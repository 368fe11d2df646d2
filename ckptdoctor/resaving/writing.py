"""A plan carried out: every file under a temporary name first, all of them in a directory that gets OUT's name last.

So OUT is absent or whole at every moment. What a killed run left is taken up again by its plan: a file that has its
final name in the work directory was whole and durable when it got it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..fixing.errors import FixError
from ..fixing.lock import locked
from ..sources.base import Unavailable
from .copying import BUFFER, Copier
from .nouns import OutShard, Piece, Plan, ResaveError, ResaveUsage
from .place import Place, room
from .planning import digest

Open = Callable[[str], "int | Unavailable"]
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""
_TMP = ".part"
_OPEN = 64
"""Source files open at a time."""


class Writer:
    """Writes one plan; ``open_`` opens a file of the source for reading."""

    def __init__(
        self, plan: Plan, place: Place, open_: Open, progress: Progress, disk: Copier | None = None
    ) -> None:
        self._plan = plan
        self._place = place
        self._open = open_
        self._progress = progress
        self._disk = disk or Copier()
        self._done = 0

    def write(self, *, resume: bool, verify: bool = False) -> int:
        """Write everything and return how many files were there already. Raises ResaveError or OSError.

        With ``verify`` every byte is read back and compared with its source before OUT gets its name.
        After an error, what is whole stays in the work directory for ``resume``; OUT is not there.
        """
        room(self._place, self._plan)
        self._begin(resume)
        try:
            with locked(self._place.work):
                return self._fill(verify)
        except FixError as error:
            raise ResaveError(str(error)) from error

    def _fill(self, verify: bool) -> int:
        kept = sum([self._file(name, b"", (Piece(name, 0, size),)) for name, size in self._plan.carried])
        kept += sum([self._shard(shard) for shard in self._plan.shards])
        for name, content in self._plan.texts:
            self._file(name, content, ())
        self._unchanged()
        if verify:
            self._read_back()
        self._publish()
        return kept

    def _begin(self, resume: bool) -> None:
        place, mark = self._place, digest(self._plan)
        if place.begun:
            if not resume:
                raise ResaveUsage(
                    f"{place.work}: an earlier run left this; --resume goes on with it, or remove it to begin anew"
                )
            if _state(place.state) != mark:
                raise ResaveUsage(
                    f"{place.work} was begun with other options or from other files; remove it to begin anew"
                )
            return
        text = json.dumps({"ckptdoctor": "resave", "plan": mark}).encode()
        self._disk.write(place.state + _TMP, text)
        self._disk.sync(place.state + _TMP)
        self._disk.rename(place.state + _TMP, place.state)
        self._disk.mkdir(place.work)
        self._disk.sync_dir(place.parent)

    def _shard(self, shard: OutShard) -> bool:
        kept = self._file(shard.name, shard.head, shard.pieces)
        path = os.path.join(self._place.work, shard.name)
        with open(path, "rb") as file:
            if file.read(len(shard.head)) != shard.head or os.fstat(file.fileno()).st_size != shard.size:
                raise ResaveError(
                    f"{path}: not what was written there; remove {self._place.work} and begin anew"
                )
        return kept

    def _file(self, name: str, head: bytes, pieces: tuple[Piece, ...]) -> bool:
        """Write one file unless it is there; return whether it was."""
        path = os.path.join(self._place.work, *name.split("/"))
        size = len(head) + sum(piece.length for piece in pieces)
        if os.path.lexists(path):
            if os.path.islink(path) or os.lstat(path).st_size != size:
                raise ResaveError(
                    f"{path}: not what an earlier run wrote; remove {self._place.work} and begin anew"
                )
            self._advance(size)
            return True
        self._parents(name)
        with _sources(self._open) as descriptor:
            self._disk.gather(
                path + _TMP, head, ((descriptor(p.file), p.offset, p.length) for p in pieces), self._advance
            )
        self._disk.sync(path + _TMP)
        self._disk.rename(path + _TMP, path)
        self._disk.sync_dir(os.path.dirname(path))
        return False

    def _parents(self, name: str) -> None:
        path = self._place.work
        for part in name.split("/")[:-1]:
            path = os.path.join(path, part)
            if not os.path.isdir(path):
                self._disk.mkdir(path)

    def _unchanged(self) -> None:
        """Raise ResaveError where a source file is not what it was when the plan was made."""
        with _sources(self._open) as descriptor:
            for name, (size, time) in self._plan.sources.items():
                found = os.fstat(descriptor(name))
                if (found.st_size, found.st_mtime_ns) != (size, time):
                    raise ResaveError(
                        f"{name} changed while it was read; remove {self._place.work} and begin anew"
                    )

    def _read_back(self) -> None:
        wholes = [(name, b"", (Piece(name, 0, size),)) for name, size in self._plan.carried]
        with _sources(self._open) as descriptor:
            for name, head, pieces in [*wholes, *((s.name, s.head, s.pieces) for s in self._plan.shards)]:
                path = os.path.join(self._place.work, *name.split("/"))
                with open(path, "rb", buffering=0) as file:
                    file.seek(len(head))
                    same = all(_same(file.fileno(), descriptor(p.file), p.offset, p.length) for p in pieces)
                if not same:
                    raise ResaveError(
                        f"{path}: read back, it is not what its source says; remove {self._place.work} and begin anew"
                    )

    def _publish(self) -> None:
        place = self._place
        if os.path.isdir(place.out):
            self._disk.rmdir(place.out)  # it is empty, or this fails
        self._disk.rename(place.work, place.out)
        self._disk.sync_dir(place.parent)
        self._disk.unlink(place.state)

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._plan.size)


@contextmanager
def _sources(open_: Open) -> Iterator[Callable[[str], int]]:
    """Yield what opens source files, each once; they are closed at the end."""
    held: dict[str, int] = {}

    def descriptor(name: str) -> int:
        if name not in held:
            if len(held) >= _OPEN:
                os.close(held.pop(next(iter(held))))
            found = open_(name)
            if isinstance(found, Unavailable):
                raise ResaveError(str(found))
            held[name] = found
        return held[name]

    try:
        yield descriptor
    finally:
        for file in held.values():
            os.close(file)


def _same(file: int, source: int, offset: int, length: int) -> bool:
    """Whether ``length`` bytes where ``file`` stands are those of ``source`` from ``offset`` on."""
    os.lseek(source, offset, os.SEEK_SET)
    while length:
        left = os.read(file, min(BUFFER, length))
        right = os.read(source, len(left))
        if not left or left != right:
            return False
        length -= len(left)
    return True


def _state(path: str) -> str:
    """Return the plan that an earlier run recorded, "" where there is none to be read."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read(4096))
        return str(value["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
