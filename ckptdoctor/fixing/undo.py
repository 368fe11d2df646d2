"""Take back the last repair, byte for byte."""

from __future__ import annotations

import os
from typing import NamedTuple

from . import journal
from .commit import recover
from .disk import Disk
from .errors import FixError
from .guard import inside, locked
from .journal import Entry, Record, digest
from .rollback import roll_back


class Undone(NamedTuple):
    """What was taken back, and where the checkpoint is now."""

    id: str
    title: str
    root: str
    files: int


def find(path: str) -> str:
    """Return the directory meant by ``path``: itself, or the one beside it that a repair renamed from it.

    Raises FixError when there is none.
    """
    if os.path.isdir(path):
        return path
    absolute = os.path.abspath(path)
    try:
        names = sorted(os.listdir(os.path.dirname(absolute)))
    except OSError:
        names = []
    for name in names:
        candidate = os.path.join(os.path.dirname(absolute), name)
        if not os.path.isdir(os.path.join(candidate, journal.HOME)) or os.path.islink(candidate):
            continue
        found = os.stat(candidate)
        for entry in _entries(candidate):
            if entry.root == absolute and entry.inode == (found.st_dev, found.st_ino):
                return candidate
    raise FixError(
        f"{path}: expected a checkpoint that was repaired, got no such directory here or under another name."
    )


def _entries(candidate: str) -> list[Entry]:
    """Return the entries of a directory that may be anyone's; what is wrong with it is no matter here."""
    try:
        return journal.entries(candidate)
    except (FixError, OSError):
        return []


def undo(path: str, entry_id: str | None = None, disk: Disk | None = None) -> Undone:
    """Take back the newest repair of the directory ``path`` (or of the one it was renamed to).

    Raises FixError, with nothing changed, when there is none, when ``entry_id`` names an older one, or when a file is
    not what the repair left.
    """
    disk = disk or Disk()
    root = find(path)
    cut_short = [entry for entry in journal.entries(root) if entry.state in ("open", "undoing")]
    root = recover(root, disk)
    if cut_short and entry_id in (
        None,
        cut_short[-1].id,
    ):  # rolling it back was the undoing that is asked for
        last = cut_short[-1]
        return Undone(last.id, last.title, root, len(last.records))
    with locked(root, disk):
        entry = _chosen(root, entry_id)
        for number, record in enumerate(entry.records):
            _unchanged(root, number, record, entry)
        try:
            entry = journal.mark(disk, root, entry, "undoing")
            root = roll_back(disk, root, entry)
            journal.mark(disk, root, entry, "undone")
        except OSError as error:
            raise FixError(
                f"{root}: {error.strerror or error}; nothing is lost: `ckptdoctor undo {root}` finishes it."
            ) from error
    return Undone(entry.id, entry.title, root, len(entry.records))


def _chosen(root: str, entry_id: str | None) -> Entry:
    done = [entry for entry in journal.entries(root) if entry.state == "committed"]
    if not done:
        raise FixError(f"{root}: expected a repair to take back, got none.")
    if entry_id is not None and entry_id != done[-1].id:
        known = ", ".join(entry.id for entry in done)
        raise FixError(
            f"{root}: expected {done[-1].id}, the newest of {known}, got {entry_id}; undo goes backwards."
        )
    return done[-1]


def _unchanged(root: str, number: int, record: Record, entry: Entry) -> None:
    """Raise FixError when a later change would be lost."""
    if record.kind == "rename":
        return
    moved = {other.file: other.to for other in entry.records if other.kind == "move"}
    file = record.to if record.kind == "move" else moved.get(record.file, record.file)
    path = inside(root, file if record.kind != "create" else record.file)
    if not os.path.isfile(path):
        raise FixError(f"{path}: expected the file that the repair left, got none; nothing was changed.")
    later = f"{path}: expected what the repair left, got other bytes: it was changed since. Nothing was done."
    if record.kind in ("replace", "create") and digest(_read(path, None)) != record.now:
        raise FixError(later)
    if record.kind in ("patch", "splice") and digest(_read(path, record.now_size)) != record.now:
        raise FixError(later)
    grown = any(other.kind in ("splice", "patch") and other.file == record.file for other in entry.records)
    if record.kind == "truncate" and not grown and os.path.getsize(path) != record.now_size:
        raise FixError(later)
    if record.kind == "move" and os.path.lexists(inside(root, record.file)):
        created = any(other.kind == "create" and other.file == record.file for other in entry.records)
        if not created:
            raise FixError(f"{record.file}: expected that name to be free, got a file; nothing was changed.")


def _read(path: str, size: int | None) -> bytes:
    with open(path, "rb") as file:
        return file.read() if size is None else file.read(size)
