"""What an interrupted run left in a directory: found, shown, and rolled back when its owner has agreed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..sources.ownership import HOME
from . import journal
from .disk import Disk
from .lock import locked
from .records import Entry, Record, digest_of, size_of
from .rollback import roll_back
from .writable import inside


class Recovered(NamedTuple):
    """Where the directory is after that, and what its owner should know."""

    root: str
    notes: tuple[str, ...]


def interrupted(root: str) -> list[Entry]:
    """Return the entries of runs that were cut short here, oldest first. Raises FixError without a sound key."""
    return [entry for entry in journal.entries(root) if entry.state != "committed"]


def left(root: str) -> list[Entry]:
    """Return what ``interrupted`` does. Raises FixError when that run still goes on."""
    found = interrupted(root)
    if found:
        with locked(root):
            return interrupted(root)
    return found


def recover(root: str, disk: Disk | None = None) -> Recovered:
    """Roll back what was interrupted, if anything was. Idempotent. Raises FixError or OSError when it cannot be."""
    if not os.path.lexists(os.path.join(root, HOME)):
        return Recovered(root, ())
    with locked(root), disk or Disk() as disk:
        return rolled(disk, root)


def rolled(disk: Disk, root: str) -> Recovered:
    """Do what ``recover`` does, in a directory that is held."""
    journal.sweep(disk, root)
    notes: list[str] = []
    for entry in reversed(interrupted(root)):
        # Killed before it could sync, an undo may be "undoing" to us and still "committed" on the platter.
        disk.sync_dir(journal.folder(root, entry))
        done = roll_back(disk, root, entry)
        root = done.root
        journal.drop(disk, root, entry)
        notes += done.notes
    return Recovered(root, tuple(notes))


def outlook(root: str, entry: Entry) -> list[str]:
    """Return what rolling ``entry`` back would change, a line for each file."""
    return [line for record in reversed(entry.records) for line in _line(root, entry, record)]


def _line(root: str, entry: Entry, record: Record) -> Iterator[str]:
    if record.kind == "rename":
        if os.path.basename(os.path.abspath(root)) == record.to:
            yield f"the directory is called {os.path.basename(entry.root)} again"
        return
    path = inside(root, record.file)
    if record.kind == "move":
        if os.path.lexists(inside(root, record.to)):
            yield f"{record.to} is called {record.file} again"
        return
    moved = [other.to for other in entry.records if other.kind == "move" and other.file == record.file]
    if moved and record.kind != "create" and os.path.lexists(inside(root, moved[0])):
        path = inside(root, moved[0])
    yield from _content_line(path, record)


def _content_line(path: str, record: Record) -> Iterator[str]:
    """Yield what would change in the file at ``path``, if anything would."""
    if record.kind == "create":
        if digest_of(path) == record.now:
            yield f"{record.file}, which the repair made, goes"
    elif record.kind == "truncate":
        if size_of(path) < record.was_size:
            yield f"{record.file} gets back its last {record.was_size - record.now_size:,} bytes"
    elif record.kind == "replace":
        if digest_of(path) != record.was:
            yield f"{record.file} is what it was ({record.was_size:,} bytes)"
    elif digest_of(path, record.was_size) != record.was:
        yield f"{record.file} gets back its first {record.was_size:,} bytes"
