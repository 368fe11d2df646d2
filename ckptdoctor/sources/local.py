"""A checkpoint in a local directory. Nothing outside the directory is ever opened.

A Hub cache is the one exception: its snapshots hold links into the ``blobs`` directory beside them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from . import pointer
from .base import MAX_FILES, Span, Stat, Unavailable

MAX_DEPTH = 3
_JOURNAL = ".ckptdoctor"
SKIPPED = frozenset({".git", ".cache", _JOURNAL, "__pycache__"})


class LocalSource:
    """The files of one directory, three levels deep."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.label = os.fspath(path)
        self._real = os.path.realpath(path)
        self._blobs = _blobs(self._real)
        self._entries: dict[str, Stat] | None = None
        self._seen = 0

    def entries(self) -> dict[str, Stat]:
        """Return every file below the root, by relative POSIX path; directories that only tools use are left out."""
        if self._entries is None:
            self._entries = dict(sorted(self._scan(self._real, "", 1)))
        return self._entries

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span; a file is opened once for neighbouring spans."""
        return read_spans(spans, self.descriptor)

    def _scan(self, directory: str, prefix: str, depth: int) -> Iterator[tuple[str, Stat]]:
        try:
            with os.scandir(directory) as found:
                children = list(islice(found, MAX_FILES + 1 - self._seen))
        except OSError:
            return
        for child in children:
            name = prefix + child.name
            if self._seen == MAX_FILES:
                yield name, Stat(0, "beyond")
                return
            self._seen += 1
            if child.name == _JOURNAL:
                if depth == 1 and _foreign(directory):
                    yield name, Stat(0, "foreign")
            elif child.is_symlink():
                linked = self._linked(child.path)
                if linked is not None:
                    yield name, linked
            elif child.is_dir(follow_symlinks=False):
                if child.name not in SKIPPED and depth < MAX_DEPTH:
                    yield from self._scan(child.path, f"{name}/", depth + 1)
            else:
                yield name, stat_file(child.path, child.stat(follow_symlinks=False))

    def _linked(self, path: str) -> Stat | None:
        """Return what a link leads to; None for a directory of this checkpoint, which is listed in its own right."""
        try:
            real = os.path.realpath(path, strict=True)
        except OSError:
            return Stat(0, "unreadable")
        if not (_within(real, self._real) or (self._blobs and _within(real, self._blobs))):
            return Stat(0, "link-out")
        found = os.stat(real)
        return None if stat.S_ISDIR(found.st_mode) else stat_file(real, found)

    def descriptor(self, name: str) -> int | Unavailable:
        """Open the file ``name`` for reading; the caller closes it."""
        known = self.entries().get(name)
        if known is None or known.state != "here":
            return Unavailable(f"{name}: {known.state if known else 'no such file'}")
        return open_file(os.path.join(self._real, *name.split("/")))


def stat_file(path: str, found: os.stat_result) -> Stat:
    """Return what is known of the file at ``path``, Git LFS pointers recognised."""
    if not stat.S_ISREG(found.st_mode):
        return Stat(0, "not-a-file")
    if not os.access(path, os.R_OK):
        return Stat(found.st_size, "unreadable")
    if 0 < found.st_size < pointer.MAX_SIZE:
        stated = _pointer(path)
        if stated:
            return Stat(stated.size, "pointer", stated.sha256)
    return Stat(found.st_size)


def open_file(path: str) -> int | Unavailable:
    """Open a regular file for reading; the caller closes the descriptor."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        return Unavailable(f"{path}: {error.strerror}")
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return Unavailable(f"{path}: not a file")


def read_spans(spans: Sequence[Span], open_: Callable[[str], int | Unavailable]) -> list[bytes | Unavailable]:
    """Read ``spans`` in order with one open descriptor at a time."""
    result: list[bytes | Unavailable] = []
    current: tuple[str, int | Unavailable] | None = None
    try:
        for span in spans:
            if current is None or current[0] != span.path:
                if current is not None:
                    _close(current[1])
                current = span.path, open_(span.path)
            result.append(_read(current[1], span))
    finally:
        if current is not None:
            _close(current[1])
    return result


def _read(descriptor: int | Unavailable, span: Span) -> bytes | Unavailable:
    if isinstance(descriptor, Unavailable):
        return descriptor
    try:
        left = os.fstat(descriptor).st_size - span.start
        length = left if span.length is None else min(span.length, left)
        if length <= 0:
            return b""
        os.lseek(descriptor, span.start, os.SEEK_SET)
        parts = []
        while length > 0:
            part = os.read(descriptor, length)
            if not part:
                break
            parts.append(part)
            length -= len(part)
    except OSError as error:
        return Unavailable(f"{span.path}: {error.strerror}")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _close(descriptor: int | Unavailable) -> None:
    if isinstance(descriptor, int):
        os.close(descriptor)


def _pointer(path: str) -> pointer.Pointer | None:
    descriptor = open_file(path)
    if isinstance(descriptor, Unavailable):
        return None
    try:
        return pointer.parse(os.read(descriptor, pointer.MAX_SIZE))
    finally:
        os.close(descriptor)


def _foreign(root: str) -> bool:
    from .ownership import foreign  # needs hashlib and hmac, which no other check does

    return bool(foreign(root))


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _blobs(root: str) -> str | None:
    """Return the blob store of a Hub-cache snapshot, None when ``root`` is not one."""
    snapshots = os.path.dirname(root)
    if os.path.basename(snapshots) != "snapshots":
        return None
    return os.path.realpath(os.path.join(os.path.dirname(snapshots), "blobs"))
