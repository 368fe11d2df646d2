"""Disks that write down what they do, and disks that fail at any one system call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ckptdoctor.fixing.disk import Disk

from .crash import Op

T = TypeVar("T")


class Lazy(Disk):
    """A disk that waits for no platter: what it does is judged by what programs see."""

    def call(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args) if function is not os.fsync else None  # type: ignore[return-value]


class Killed(BaseException):
    """The process is dead: whatever it still tries fails as well."""


KINDS = {
    "kill": "killed before the call",
    "tear": "killed in the middle of a write",
    "short": "every write from there on takes a part of what it is given",
    "interrupt": "Ctrl-C",
    "full": "no room from there on (ENOSPC)",
    "ENOSPC": "this once",
    "EIO": "this once",
    "EIO for good": "every call from there on",
    "EACCES": "this once",
    "EACCES for good": "every open for writing and every change of a name from there on",
    "EINTR": "this once",
}
_NAMES = (os.replace, os.unlink, os.mkdir, os.rmdir)


class Faulty(Lazy):
    """A disk whose n-th system call goes wrong in one of the ``KINDS``; ``calls`` counts them."""

    def __init__(self, at: int, kind: str) -> None:
        super().__init__()
        self.calls = 0
        self.met = False
        """Whether anything went wrong."""
        self._free = 0
        self._at = at
        self._kind = kind

    def call(self, function: Callable[..., T], *args: Any) -> T:
        self.calls += 1
        if self.calls > self._at:
            self._fault(function, args)
        if function is os.ftruncate:
            self._free += os.fstat(args[0]).st_size - args[1]
        if self.met and self._kind == "short" and function is os.write:
            args = (args[0], args[1][: max(1, len(args[1]) // 2)])
        return super().call(function, *args)

    def _fault(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        kind = self._kind.removesuffix(" for good")
        if kind == "kill" or (self.met and kind == "tear"):
            self.met = True
            raise Killed
        if kind == "short":
            self.met = True
        elif self._hits(kind, function, args):
            self.met = True
            if kind == "tear":
                os.write(args[0], args[1][: len(args[1]) // 2])
                raise Killed
            if kind == "interrupt":
                raise KeyboardInterrupt
            code = errno.ENOSPC if kind == "full" else getattr(errno, kind)
            raise OSError(code, os.strerror(code))

    def _hits(self, kind: str, function: Callable[..., object], args: tuple[Any, ...]) -> bool:
        """Whether this is the call that goes wrong, or one of them."""
        first = self.calls == self._at + 1
        if kind == "tear":
            return first and function is os.write
        if kind == "full":
            return self._grows(function, args)
        if kind == "EACCES" and self._kind != kind:
            return function in _NAMES or (function is os.open and bool(args[1] & (os.O_WRONLY | os.O_RDWR)))
        return first or self._kind != kind

    def _grows(self, function: Callable[..., object], args: tuple[Any, ...]) -> bool:
        """Whether a call takes room that neither the file has already nor a cut of ours has set free."""
        if function is os.mkdir or (function is os.open and args[1] & os.O_CREAT):
            return True
        if function is not os.write:
            return False
        file, content = args
        need = os.lseek(file, 0, os.SEEK_CUR) + len(content) - os.fstat(file).st_size
        if need > self._free:
            return True
        self._free -= max(need, 0)
        return False


class Recorder(Disk):
    """A disk that does what it is told, without waiting for the platter, and writes it down."""

    def __init__(self, top: Path) -> None:
        super().__init__()
        self.top = top
        self.ops: list[Op] = []

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        self._add("mkdir", path)

    def rmdir(self, path: str) -> None:
        super().rmdir(path)
        self._add("rmdir", path)

    def write(self, path: str, content: bytes) -> None:
        super().write(path, content)
        self._add("write", path, content=content)

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        super().compose(path, head, source, skip)
        self._add("write", path, content=Path(path).read_bytes())

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        super().overwrite(path, offset, content)
        self._add("overwrite", path, offset=offset, content=content)

    def append_from(self, path: str, offset: int, source: str) -> None:
        super().append_from(path, offset, source)
        self._add("overwrite", path, offset=offset, content=Path(source).read_bytes())

    def truncate(self, path: str, size: int) -> None:
        super().truncate(path, size)
        self._add("truncate", path, offset=size)

    def sync(self, path: str) -> None:
        self._add("sync", path)

    def sync_dir(self, path: str) -> None:
        self._add("sync_dir", path)

    def rename(self, path: str, to: str) -> None:
        super().rename(path, to)
        self._add("rename", path, self._relative(to))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._add("unlink", path)

    def _add(self, name: str, path: str, to: str = "", offset: int = 0, content: bytes = b"") -> None:
        self.ops.append(Op(name, self._relative(path), to, offset, content))

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.top).replace(os.sep, "/")
