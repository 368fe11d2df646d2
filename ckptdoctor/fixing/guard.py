"""What must hold before anything is written: nobody else is at it, and every file is what the plan saw."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from . import journal
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError
from .journal import HOME

_SPARE = 1024 * 1024
"""Bytes left over for the journal's own files."""


@contextmanager
def locked(root: str, disk: Disk) -> Iterator[None]:
    """Hold the directory for one process; the system lets go of it even when the process is killed."""
    journal.home(root)
    home = os.path.join(root, HOME)
    if not os.access(root, os.W_OK):
        raise FixError(f"{root}: expected a directory that can be written, got a read-only one.")
    try:
        if not os.path.isdir(home):
            disk.mkdir(home)
            disk.sync_dir(root)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(os.path.join(home, "lock"), flags, 0o644)
    except OSError as error:
        raise FixError(f"{root}: {error.strerror or error}; nothing was changed.") from error
    try:
        if not _lock(descriptor):
            raise FixError(f"{root}: another ckptdoctor is writing there; try again when it is done.")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except (
        ImportError
    ):  # no such lock on Windows: two fixes at once are then caught by the files that changed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def check(root: str, changes: Sequence[Change]) -> None:
    """Raise FixError unless every change can be done to what is there now."""
    need = _SPARE
    _own(root)
    for change in changes:
        if isinstance(change, Rename):
            _directory(root, change.to)
            continue
        path = inside(root, change.file)
        if isinstance(change, Replace) and change.was is None:
            if os.path.lexists(path) and not _set_free(change.file, changes):
                raise FixError(f"{path}: expected no such file, got one. {_AGAIN}")
        else:
            _regular(path)
        need += _fits(root, path, change)
    free = shutil.disk_usage(root).free
    if free < need:
        raise FixError(f"{root}: expected {need:,} bytes of free space, got {free:,}; make room first.")


def _own(root: str) -> None:
    """Raise FixError for a snapshot of a Hub cache: its name and its files are what other programs look for."""
    real = os.path.realpath(root)
    snapshots = os.path.dirname(real)
    if os.path.basename(snapshots) == "snapshots" and os.path.isdir(os.path.join(snapshots, "..", "blobs")):
        raise FixError(
            f"{root}: expected a directory of your own, got a snapshot in a Hub cache, which every program on this "
            f"machine shares. Copy the checkpoint first: cp -rL {root} COPY"
        )


_AGAIN = "It changed after the plan was made; run `ckptdoctor fix` again."


def _set_free(file: str, changes: Sequence[Change]) -> bool:
    return any(isinstance(change, Move) and change.file == file for change in changes)


def _fits(root: str, path: str, change: Change) -> int:
    """Return the bytes the change takes while it is done. Raises FixError when the file is not what it was."""
    if isinstance(change, Replace):
        if change.was is not None and _read(path, None) != change.was:
            raise FixError(f"{path}: expected the file that was checked, got another. {_AGAIN}")
        return len(change.content) + len(change.was or b"")
    if isinstance(change, Patch | Splice):
        if _read(path, len(change.was)) != change.was:
            raise FixError(f"{path}: expected the header that was checked, got another. {_AGAIN}")
        return len(change.was) + (os.path.getsize(path) if isinstance(change, Splice) else 0)
    if isinstance(change, Truncate):
        if os.path.getsize(path) != change.was:
            raise FixError(f"{path}: expected {change.was:,} bytes, got {os.path.getsize(path):,}. {_AGAIN}")
        return change.was - change.size
    assert isinstance(change, Move)
    to = inside(root, change.to)
    if os.path.lexists(to):
        raise FixError(f"{to}: expected that name to be free, got a file. {_AGAIN}")
    return 0


def _regular(path: str) -> None:
    try:
        found = os.lstat(path)
    except OSError as error:
        raise FixError(f"{path}: expected a file, got none ({error.strerror}). {_AGAIN}") from error
    if stat.S_ISLNK(found.st_mode):
        raise FixError(
            f"{path}: expected a file of this directory, got a link (as in a Hub cache, where other snapshots share "
            "it). Copy the checkpoint first: cp -rL DIRECTORY COPY"
        )
    if not stat.S_ISREG(found.st_mode):
        raise FixError(f"{path}: expected a file, got something else.")
    if found.st_nlink > 1:
        raise FixError(
            f"{path}: expected a file with one name, got one with {found.st_nlink}: the others would change, or part "
            "from it. Copy the checkpoint first: cp -r DIRECTORY COPY"
        )


def inside(root: str, file: str) -> str:
    """Return the path of ``file``, which no part of its name may lead out of ``root``. Raises FixError."""
    parts = file.split("/")
    if any(part in ("", ".", "..", HOME) for part in parts) or os.path.isabs(file) or "\\" in file:
        raise FixError(f"{file!r}: expected a file of the checkpoint, got a path that leads elsewhere.")
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise FixError(f"{path}: expected a directory of the checkpoint, got a link.")
    return os.path.join(path, parts[-1])


def _directory(root: str, name: str) -> None:
    to = os.path.join(os.path.dirname(os.path.abspath(root)), name)
    if os.path.islink(root.rstrip("/")):
        raise FixError(f"{root}: expected the directory itself, got a link to it; name its real path.")
    if os.path.lexists(to):
        raise FixError(
            f"{to}: expected that name to be free; the directory was renamed by hand, or another has it."
        )
    if not os.access(os.path.dirname(to), os.W_OK):
        raise FixError(
            f"{os.path.dirname(to)}: expected a directory that can be written, got a read-only one."
        )


def _read(path: str, size: int | None) -> bytes:
    with open(path, "rb") as file:
        return file.read() if size is None else file.read(size)
