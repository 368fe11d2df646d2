"""Bytes from one file to another by the shortest way the system has: shared, copied by the kernel, else read and
written."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator

from ..fixing.disk import Disk

Advance = Callable[[int], None]
"""Called with the number of bytes that were written."""

STEP = 64 * 1024 * 1024
"""Bytes asked of the kernel at a time: often enough for a progress bar and for Ctrl-C."""
BUFFER = 1024 * 1024
"""Bytes in memory where they have to be read and written."""
SMALL = 128 * 1024
"""Bytes up to which pieces are read and written together: a call of the kernel for each would take longer."""
_BLOCK = 64 * 1024
_FICLONERANGE = 0x4020940D
"""``_IOW(0x94, 13, struct file_clone_range)`` of linux/fs.h."""
_EARLY = "a source file ended early; it changed while it was read"
_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NEW |= getattr(os, "O_CLOEXEC", 0)
_OTHER_WAY = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
"""``copy_file_range(2)``: this kernel, or this pair of file systems, cannot."""


class Copier(Disk):
    """A disk that puts files together from pieces of others."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel: bool | None = None
        """Whether the kernel copies; None before that is known."""
        self._buffer = bytearray(BUFFER)

    def gather(
        self, path: str, head: bytes, pieces: Iterable[tuple[int, int, int]], advance: Advance
    ) -> None:
        """Write a new file: ``head``, then the pieces (descriptor, offset, length). Not durable before ``sync``.

        Raises OSError; EIO where a source ends before its piece does.
        """
        file = self.call(os.open, path, _NEW, 0o666)
        try:
            waiting, end = bytearray(head), 0
            for source, offset, length in pieces:
                if length <= SMALL:
                    waiting += self._read(source, offset, length)
                if length > SMALL or len(waiting) >= BUFFER:
                    end += self._flush(file, end, waiting, advance)
                if length > SMALL:
                    for begin, stop in _filled(source, offset, length):
                        self.call(os.lseek, file, end + begin - offset, os.SEEK_SET)
                        self._span(source, begin, stop - begin, file, advance)
                    end += length
            end += self._flush(file, end, waiting, advance)
            self.call(os.ftruncate, file, end)  # a hole at the end
        finally:
            os.close(file)

    def _flush(self, file: int, end: int, waiting: bytearray, advance: Advance) -> int:
        """Write what is ``waiting`` at byte ``end`` and return how much it was."""
        count = len(waiting)
        self.call(os.lseek, file, end, os.SEEK_SET)
        self._put(file, bytes(waiting))
        waiting.clear()
        advance(count)
        return count

    def _read(self, source: int, offset: int, length: int) -> bytes:
        self.call(os.lseek, source, offset, os.SEEK_SET)
        found = self.call(os.read, source, length)
        if len(found) != length:
            raise OSError(errno.EIO, _EARLY)
        return found

    def _span(self, source: int, offset: int, length: int, file: int, advance: Advance) -> None:
        """Copy ``length`` bytes to where ``file`` stands."""
        if self.kernel is None:
            self.kernel = _shares(source, offset, file)
        while length:
            size = min(length, STEP if self.kernel else BUFFER)
            count = self._kernel(source, offset, size, file) if self.kernel else 0
            if not count:
                count = self._through_memory(source, offset, min(size, BUFFER), file)
            offset += count
            length -= count
            advance(count)

    def _through_memory(self, source: int, offset: int, size: int, file: int) -> int:
        part = memoryview(self._buffer)[:size]
        if hasattr(os, "preadv"):
            count = self.call(os.preadv, source, [part], offset)
        else:
            found = self._read(source, offset, size)
            count = len(found)
            part[:count] = found
        if not count:
            raise OSError(errno.EIO, _EARLY)
        self._put(file, part[:count])
        return count

    def _kernel(self, source: int, offset: int, size: int, file: int) -> int:
        """Return how many bytes the kernel copied, 0 where they have to be read and written."""
        try:
            return int(self.call(os.copy_file_range, source, file, size, offset))
        except OSError as error:
            if error.errno not in _OTHER_WAY:
                raise
            self.kernel = False
            return 0


def _shares(source: int, offset: int, file: int) -> bool:
    """Whether both files lie where blocks can be shared (btrfs, XFS, some network file systems): one is, for a trial.

    Only there the kernel's way is the shorter one: on ext4 ``copy_file_range`` takes 1.7 times as long as reading and
    writing (bench/resave.py).
    """
    try:
        import fcntl
    except ImportError:
        return False
    end = os.lseek(file, 0, os.SEEK_CUR)
    place = -(-end // _BLOCK) * _BLOCK
    request = struct.pack("qQQQ", source, -(-offset // _BLOCK) * _BLOCK, _BLOCK, place)
    try:
        fcntl.ioctl(file, _FICLONERANGE, request)
    except OSError:
        return False
    os.ftruncate(file, place)
    return hasattr(os, "copy_file_range")


def _filled(source: int, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a piece that hold data: what is a hole in the source stays one."""
    found = os.fstat(source)
    blocks = getattr(found, "st_blocks", None)
    if blocks is None or blocks * 512 >= found.st_size or not hasattr(os, "SEEK_DATA"):
        yield (offset, offset + length)
        return
    end = offset + length
    while offset < end:
        try:
            begin = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            yield (offset, end)
            return
        if begin >= end:
            return
        offset = min(os.lseek(source, begin, os.SEEK_HOLE), end)
        yield (begin, offset)
