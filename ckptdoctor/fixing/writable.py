"""Whether a name of the checkpoint can be changed: it stays inside, is one file, and the system lets us."""

from __future__ import annotations

import os
import stat

from ..sources.ownership import HOME
from .disk import Disk
from .errors import FixError


def inside(root: str, file: str) -> str:
    """Return the path of ``file``, which no part of its name may lead out of ``root``. Raises FixError."""
    parts = file.split("/")
    if (
        any(part in ("", ".", "..", HOME) or "\0" in part for part in parts)
        or os.path.isabs(file)
        or "\\" in file
    ):
        raise FixError(f"{file!r}: expected a file of the checkpoint, got a path that leads elsewhere.")
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise FixError(f"{path}: expected a directory of the checkpoint, got a link.")
    return os.path.join(path, parts[-1])


def plain(name: str) -> None:
    """Raise FixError for what is no name of a directory."""
    if name in ("", ".", "..", HOME) or "\0" in name or os.path.basename(name) != name or "\\" in name:
        raise FixError(f"{name!r}: expected the name of a directory, got something else.")


def regular(path: str, advice: str) -> None:
    """Raise FixError unless ``path`` is a file with this one name."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise FixError(f"{path}: expected a file, got none ({error.strerror}). {advice}") from error
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


def hold(disk: Disk, path: str) -> None:
    """Open a file for writing and keep it so. Raises FixError when the system does not let us."""
    try:
        disk.hold(path)
    except OSError as error:
        hint = (
            "; `chmod u+w`, its owner, or `chattr -i` can let it be"
            if isinstance(error, PermissionError)
            else ""
        )
        raise FixError(
            f"{path}: expected a file that can be written, got: {error.strerror or error}{hint}. Nothing was changed."
        ) from error


def owned(path: str) -> None:
    """Raise FixError when a file written in place of this one would belong to somebody else."""
    found = os.stat(path)
    if hasattr(os, "geteuid") and os.geteuid() not in (0, found.st_uid):
        raise FixError(
            f"{path}: expected a file of your own, got one of user {found.st_uid}: written anew it would change hands."
        )


def writable_directory(path: str, child: str | None = None) -> None:
    """Raise FixError unless names can be added in a directory, and ``child`` renamed there."""
    if not os.access(path, os.W_OK | os.X_OK):
        raise FixError(f"{path}: expected a directory that can be written, got a read-only one.")
    if child is None or not hasattr(os, "geteuid") or not os.path.lexists(child):
        return
    found = os.stat(path)
    allowed = (0, found.st_uid, os.lstat(child).st_uid)
    if found.st_mode & stat.S_ISVTX and os.geteuid() not in allowed:
        raise FixError(
            f"{child}: expected a name that you may change, got another user's in a sticky directory."
        )


def free_name(path: str, advice: str) -> None:
    """Raise FixError when there is something called ``path``."""
    if os.path.lexists(path):
        raise FixError(f"{path}: expected that name to be free, got a file or directory. {advice}")


def unused(path: str) -> str:
    """Return a free name for what is set aside: ``NAME.unused``, ``NAME.unused.2``, …"""
    number, name = 1, f"{path}.unused"
    while os.path.lexists(name):
        number += 1
        name = f"{path}.unused.{number}"
    return name
