"""Do changes all or not at all: journal, change, mark; whatever interrupts it is rolled back when it is next seen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import journal
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError
from .guard import check, locked
from .rollback import roll_back


class Committed(NamedTuple):
    """What was done, and where the checkpoint is now."""

    id: str
    root: str


def commit(root: str, changes: Sequence[Change], title: str, disk: Disk | None = None) -> Committed:
    """Do ``changes`` in ``root``. Raises FixError, with the directory as it was, when one cannot be done."""
    disk = disk or Disk()
    with locked(root, disk):
        root = _recover(root, disk)
        check(root, changes)
        now = root
        entry = None
        try:
            entry = journal.begin(disk, root, changes, title)
            _prepare(disk, root, entry, changes)
            for number, change in enumerate(changes):
                now = _apply(disk, now, entry, number, change)
            entry = journal.seal(disk, now, entry, "committed")
        except BaseException as error:
            with _explained(error, root):
                _give_up(disk, now, root, entry)
            raise  # not an OSError: a KeyboardInterrupt, say, after the directory is as it was
        return Committed(entry.id, now)


def interrupted(root: str) -> bool:
    """Whether a run was cut short here and is still to be rolled back. Raises FixError for a journal not of ours."""
    return any(entry.state in ("open", "undoing") for entry in journal.entries(root))


def recover(root: str, disk: Disk | None = None) -> str:
    """Roll back what was interrupted, if anything was; return where the directory is then. Idempotent."""
    if interrupted(root):
        disk = disk or Disk()
        with locked(root, disk):
            return _recover(root, disk)
    return root


def _recover(root: str, disk: Disk) -> str:
    for entry in reversed(journal.entries(root)):
        if entry.state in ("open", "undoing"):
            root = roll_back(disk, root, entry)
            journal.mark(disk, root, entry, "undone")
    return root


def _give_up(disk: Disk, now: str, root: str, entry: journal.Entry | None) -> None:
    """Take back what was done so far, on a disk that may still be full."""
    if entry is None:
        return
    beside = os.path.dirname(os.path.abspath(root))
    renamed = [os.path.join(beside, record.to) for record in entry.records if record.kind == "rename"]
    place = next(path for path in (now, root, *renamed) if os.path.isdir(path))
    if journal.state(place, entry) == "committed":  # the mark was made, and then the disk failed
        entry = journal.mark(disk, place, entry, "undoing")
    place = roll_back(disk, place, entry)
    with suppress(
        OSError
    ):  # on a full disk the entry stays open, and rolling back what is back already is no harm
        journal.mark(disk, place, entry, "undone")


@contextmanager
def _explained(error: BaseException, root: str) -> Iterator[None]:
    """Turn what the system said into a FixError, after the block has taken everything back."""
    try:
        yield
    except OSError as second:
        raise FixError(
            f"{root}: {error}; taking it back failed as well: {second}. "
            f"Nothing is lost: `ckptdoctor undo {root}` finishes that once the disk can be written."
        ) from error
    if isinstance(error, OSError):
        raise FixError(f"{root}: {error.strerror or error}; nothing was changed.") from error


def _prepare(disk: Disk, root: str, entry: journal.Entry, changes: Sequence[Change]) -> None:
    """Write all that takes room before anything is changed: a disk that is full then leaves nothing to take back."""
    cut = {change.file for change in changes if isinstance(change, Truncate)}
    for number, change in enumerate(changes):
        # A file that is cut first is copied when it has been.
        if isinstance(change, Replace) or (isinstance(change, Splice) and change.file not in cut):
            _write(disk, root, entry, number, change)
    journal.announce(disk, root, entry, "committed")


def _write(disk: Disk, root: str, entry: journal.Entry, number: int, change: Replace | Splice) -> None:
    new = _new(root, entry, number)
    path = os.path.join(root, change.file)
    if isinstance(change, Replace):
        disk.write(new, change.content)
    else:
        disk.compose(new, change.head, path, len(change.was))
    if os.path.exists(path):
        disk.like(new, path)
    disk.sync(new)


def _new(root: str, entry: journal.Entry, number: int) -> str:
    return os.path.join(journal.folder(root, entry.id), f"{number}.new")


def _apply(disk: Disk, root: str, entry: journal.Entry, number: int, change: Change) -> str:
    """Do one change durably; return where the directory is then."""
    if isinstance(change, Rename):
        to = os.path.join(os.path.dirname(os.path.abspath(root)), change.to)
        disk.rename(root, to)
        disk.sync_dir(os.path.dirname(to))
        return to
    path = os.path.join(root, change.file)
    if isinstance(change, Replace | Splice):
        new = _new(root, entry, number)
        if not os.path.exists(new):
            _write(disk, root, entry, number, change)
        disk.rename(new, path)
        disk.sync_dir(os.path.dirname(path))
    elif isinstance(change, Patch):
        disk.overwrite(path, 0, change.content)
        disk.sync(path)
    elif isinstance(change, Truncate):
        disk.truncate(path, change.size)
        disk.sync(path)
    else:
        assert isinstance(change, Move)
        to = os.path.join(root, change.to)
        disk.rename(path, to)
        for folder in dict.fromkeys((os.path.dirname(to), os.path.dirname(path))):
            disk.sync_dir(folder)
    return root
