"""What must hold before anything is written: every file is what the plan saw, and can be changed and changed back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from ..sources import ownership
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError
from .writable import free_name, hold, inside, owned, plain, regular, writable_directory

_SPARE = 1024 * 1024
"""Bytes left over for the journal's own files."""
_AGAIN = "It changed after the plan was made; run `ckptdoctor fix` again."


def check(root: str, changes: Sequence[Change], disk: Disk) -> None:
    """Raise FixError unless every change can be done to what is there now; its files are held open for that."""
    need = _SPARE
    _own(root)
    writable_directory(root)
    for change in changes:
        if isinstance(change, Rename):
            _directory(root, change.to)
            continue
        path = inside(root, change.file)
        if isinstance(change, Replace) and change.was is None:
            if os.path.lexists(path) and not _set_free(change.file, changes):
                raise FixError(f"{path}: expected no such file, got one. {_AGAIN}")
        else:
            regular(path, _AGAIN)
            hold(disk, path)
        _renamed_in(root, path, change)
        need += _fits(root, path, change)
    room(root, need)


def room(root: str, need: int) -> None:
    """Raise FixError unless ``need`` bytes are free."""
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
    state = os.path.realpath(ownership.folder())
    if state == real or state.startswith(real.rstrip(os.sep) + os.sep):
        raise FixError(
            f"{state}: expected a state directory outside of the checkpoint; set {ownership.VARIABLE} to another."
        )


def _set_free(file: str, changes: Sequence[Change]) -> bool:
    return any(isinstance(change, Move) and change.file == file for change in changes)


def _renamed_in(root: str, path: str, change: Change) -> None:
    """Raise FixError when a name cannot come, go or be taken over where ``change`` has it do so."""
    if not isinstance(change, Replace | Splice | Move):
        return
    writable_directory(os.path.dirname(path), path)
    if isinstance(change, Move):
        writable_directory(os.path.dirname(inside(root, change.to)))
    elif change.was is not None:
        owned(path)


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
    free_name(inside(root, change.to), _AGAIN)
    return 0


def _directory(root: str, name: str) -> None:
    plain(name)
    absolute = os.path.abspath(root)
    if os.path.islink(root.rstrip("/")):
        raise FixError(f"{root}: expected the directory itself, got a link to it; name its real path.")
    free_name(os.path.join(os.path.dirname(absolute), name), "Give that one another name first.")
    writable_directory(os.path.dirname(absolute), absolute)


def _read(path: str, size: int | None) -> bytes:
    with open(path, "rb") as file:
        return file.read() if size is None else file.read(size)
