"""Take back the last repair, byte for byte."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..sources import ownership
from . import journal
from .disk import Disk
from .errors import FixError
from .guard import room
from .lock import locked
from .records import Entry, Record, digest_of, size_of
from .recovery import interrupted, rolled
from .rollback import Rolled, roll_back
from .writable import hold, inside, regular, writable_directory


class Undone(NamedTuple):
    """What was taken back, and where the checkpoint is now."""

    id: str
    title: str
    root: str
    files: int
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """What was not taken back, and why; only with ``forget``."""
    kept: str = ""
    """Where the bytes for those lie."""


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
        if not os.path.isdir(os.path.join(candidate, ownership.HOME)) or os.path.islink(candidate):
            continue
        if any(entry.root == absolute for entry in journal.entries(candidate)):
            return candidate
    raise FixError(
        f"{path}: expected a checkpoint that was repaired, got no such directory here or under another name."
    )


def undo(path: str, entry_id: str | None = None, disk: Disk | None = None, *, forget: bool = False) -> Undone:
    """Take back the newest repair of the directory ``path`` (or of the one it was renamed to).

    Raises FixError, with nothing changed, when there is none, when ``entry_id`` names an older one, or when a file is
    not what the repair left. With ``forget`` what can be taken back is, the rest stays as it is, and the entry is gone.
    """
    root = find(path)
    if not journal.entries(root) and not os.path.lexists(os.path.join(root, ownership.HOME)):
        raise FixError(_nothing(root))
    with locked(root), disk or Disk() as disk:
        journal.sweep(disk, root)
        try:
            if forget:
                return _forgotten(disk, root, _newest(root, entry_id))
            cut_short = interrupted(root)
            if cut_short and entry_id in (None, cut_short[-1].id):
                back = rolled(disk, root)  # that is the undoing which is asked for
                last = cut_short[-1]
                return Undone(last.id, last.title, back.root, len(last.records), back.notes)
            if cut_short:
                raise FixError(f"{root}: {cut_short[-1].id} was interrupted; `ckptdoctor undo {root}` first.")
            return _undone(disk, root, _newest(root, entry_id))
        except OSError as error:
            raise FixError(
                f"{root}: {error.strerror or error}; nothing is lost: `ckptdoctor undo {root}` finishes it once the "
                f"disk can be written, `ckptdoctor undo --forget {root}` without what cannot."
            ) from error


def _undone(disk: Disk, root: str, entry: Entry) -> Undone:
    for number, record in enumerate(entry.records):
        _unchanged(root, number, record, entry)
    _can_be(disk, root, entry)
    journal.mark(disk, root, entry, "undoing")
    done = roll_back(disk, root, entry)
    journal.drop(disk, done.root, entry)
    return Undone(entry.id, entry.title, done.root, len(entry.records), done.notes)


def _forgotten(disk: Disk, root: str, entry: Entry) -> Undone:
    if entry.state == "committed":
        journal.mark(disk, root, entry, "undoing")
    disk.sync_dir(journal.folder(root, entry))
    done: Rolled = roll_back(disk, root, entry, partly=True)
    kept = ""
    if done.left:
        kept = journal.forget(disk, done.root, entry)
    else:
        journal.drop(disk, done.root, entry)
    return Undone(entry.id, entry.title, done.root, len(entry.records), done.notes, done.left, kept)


def _nothing(root: str) -> str:
    foreign = ownership.foreign(root)
    hint = (
        f" {len(foreign)} entr{'y' if len(foreign) == 1 else 'ies'} in {ownership.HOME}/ (the first: {foreign[0]}) "
        "not written here, by you, for this directory: not used."
        if foreign
        else ""
    )
    return f"{root}: expected a repair to take back, got none.{hint}"


def _newest(root: str, entry_id: str | None) -> Entry:
    found = journal.entries(root)
    if not found:
        raise FixError(_nothing(root))
    if entry_id is not None and entry_id != found[-1].id:
        known = ", ".join(entry.id for entry in found)
        raise FixError(
            f"{root}: expected {found[-1].id}, the newest of {known}, got {entry_id}; undo goes backwards."
        )
    return found[-1]


def _place(root: str, record: Record, entry: Entry) -> str:
    """Return where the file of a record is after the repair."""
    moved = {other.file: other.to for other in entry.records if other.kind == "move"}
    file = record.to if record.kind == "move" else moved.get(record.file, record.file)
    return inside(root, file if record.kind != "create" else record.file)


def _can_be(disk: Disk, root: str, entry: Entry) -> None:
    """Raise FixError unless the system lets every file be changed back; they are held open for that."""
    need = 0
    for record in entry.records:
        if record.kind == "rename":
            writable_directory(os.path.dirname(os.path.abspath(root)), os.path.abspath(root))
            continue
        path = _place(root, record, entry)
        hold(disk, path)
        writable_directory(os.path.dirname(path), path)
        need += size_of(path) if record.kind == "splice" else 0
    room(root, need)


def _unchanged(root: str, number: int, record: Record, entry: Entry) -> None:
    """Raise FixError when a later change would be lost."""
    if record.kind == "rename":
        return
    path = _place(root, record, entry)
    regular(path, "Nothing was changed.")
    if not _as_left(path, record, entry):
        raise FixError(
            f"{path}: expected what the repair left, got other bytes: it was changed since. Nothing was done. "
            f"`ckptdoctor undo --forget {root}` takes back the rest."
        )
    if record.kind == "move" and os.path.lexists(inside(root, record.file)):
        created = any(other.kind == "create" and other.file == record.file for other in entry.records)
        if not created:
            raise FixError(
                f"{inside(root, record.file)}: expected that name to be free, got a file; nothing was changed. "
                "Give it another name first."
            )


def _as_left(path: str, record: Record, entry: Entry) -> bool:
    """Whether the file at ``path`` holds what the repair left there; a moved one is not read."""
    if record.kind in ("replace", "create"):
        return digest_of(path) == record.now
    if record.kind in ("patch", "splice"):
        return digest_of(path, record.now_size) == record.now
    if record.kind == "truncate":
        grown = any(
            other.kind in ("splice", "patch") and other.file == record.file for other in entry.records
        )
        return grown or size_of(path) == record.now_size
    return True
