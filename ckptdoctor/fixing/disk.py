"""The one place that writes to a checkpoint's directory, one operation of the file system at a time.

Every system call goes through ``Disk.call``. Tests put their own in its place: one that records every operation, one
that fails at the n-th call, one that writes less than it was given, one that dies.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

CHUNK = 8 * 1024 * 1024
"""Bytes copied at a time, so that a shard of any size takes no memory."""
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN
_CHANGE = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | _PLAIN


class Disk:
    """Operations on paths; each either happens or raises OSError. Closes what it holds at the end of a ``with``."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Make one system call."""
        return function(*args)

    def hold(self, path: str) -> None:
        """Open a file for reading and writing and keep it so: a permission that changes later does not matter."""
        if os.path.abspath(path) not in self._descriptors:
            self._descriptors[os.path.abspath(path)] = self.call(os.open, path, _CHANGE)

    def release(self) -> None:
        """Close every file that is held."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def mkdir(self, path: str) -> None:
        """Make a directory, which must not exist."""
        self.call(os.mkdir, path)

    def rmdir(self, path: str) -> None:
        """Remove a directory, which must be empty."""
        self.call(os.rmdir, path)

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole, over what was there. Not durable before ``sync``."""
        with _Opened(self, path, _NEW) as file:
            self._put(file, content)

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        """Write a new file: ``head``, then the bytes of ``source`` from ``skip`` on."""
        with _Opened(self, path, _NEW) as file:
            self._put(file, head)
            self._copy(source, skip, file)

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        """Write over bytes in place; past the end the file grows."""
        with _Opened(self, path, _CHANGE) as file:
            self.call(os.lseek, file, offset, os.SEEK_SET)
            self._put(file, content)

    def append_from(self, path: str, offset: int, source: str) -> None:
        """Write the bytes of ``source`` into ``path`` from ``offset`` on."""
        with _Opened(self, path, _CHANGE) as file:
            self.call(os.lseek, file, offset, os.SEEK_SET)
            self._copy(source, 0, file)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file."""
        with _Opened(self, path, _CHANGE) as file:
            self.call(os.ftruncate, file, size)

    def like(self, path: str, model: str) -> None:
        """Give a file the permissions of another, and its owner where that differs (root repairs for a user)."""
        found, new = os.stat(model), os.stat(path)
        if hasattr(os, "chown") and (found.st_uid, found.st_gid) != (new.st_uid, new.st_gid):
            self.call(os.chown, path, found.st_uid, found.st_gid)
        self.call(os.chmod, path, found.st_mode & 0o7777)

    def sync(self, path: str) -> None:
        """Make the bytes of a file durable."""
        with _Opened(self, path, _CHANGE if os.name == "nt" else os.O_RDONLY | _PLAIN) as file:
            self.call(os.fsync, file)

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable (where the system can: Windows cannot open one)."""
        if os.name != "nt":
            with _Opened(self, path, os.O_RDONLY) as directory:
                self.call(os.fsync, directory)

    def rename(self, path: str, to: str) -> None:
        """Give a file or directory another name; a file of that name is replaced in the same step."""
        if os.name == "nt":  # refuses to rename what is open
            self.release()
        self.call(os.replace, path, to)
        old, new = os.path.abspath(path), os.path.abspath(to)
        replaced = self._descriptors.pop(new, None)
        if replaced is not None:
            os.close(replaced)
        for name in list(self._descriptors):
            if name == old or name.startswith(old + os.sep):
                self._descriptors[new + name[len(old) :]] = self._descriptors.pop(name)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self.call(os.unlink, path)

    def descriptor(self, path: str) -> int | None:
        """Return the descriptor that is held for ``path``."""
        return self._descriptors.get(os.path.abspath(path))

    def _put(self, file: int, content: bytes | memoryview) -> None:
        """Write all of ``content``: one call may take less than it was given."""
        rest = memoryview(content)
        while rest:
            count = self.call(os.write, file, rest[:CHUNK])
            if count <= 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[count:]

    def _copy(self, source: str, skip: int, file: int) -> None:
        with _Opened(self, source, os.O_RDONLY | _PLAIN) as rest:
            self.call(os.lseek, rest, skip, os.SEEK_SET)
            while chunk := self.call(os.read, rest, CHUNK):
                self._put(file, chunk)


class _Opened:
    """The descriptor that the disk holds for a path, or one of its own, closed at the end."""

    def __init__(self, disk: Disk, path: str, flags: int) -> None:
        kept = disk.descriptor(path)
        self._own = kept is None
        self._file = disk.call(os.open, path, flags, 0o666) if kept is None else kept

    def __enter__(self) -> int:
        return self._file

    def __exit__(self, *about: object) -> None:
        if self._own:
            os.close(self._file)
