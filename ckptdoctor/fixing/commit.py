"""Do changes all or not at all: journal, change, mark; whatever interrupts it is rolled back when it is next seen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import guard, journal
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError
from .lock import locked
from .records import Entry
from .recovery import interrupted
from .rollback import roll_back


class Committed(NamedTuple):
    """What was done, and where the checkpoint is now."""

    id: str
    root: str


def commit(root: str, changes: Sequence[Change], title: str, disk: Disk | None = None) -> Committed:
    """Do ``changes`` in ``root``. Raises FixError, with the directory as it was, when one cannot be done."""
    with locked(root), disk or Disk() as disk:
        journal.ready(root)
        journal.sweep(disk, root)
        with _as_fix_error(root):
            guard.check(root, changes, disk)
        journal.secret(make=True)
        if interrupted(root):
            raise FixError(
                f"{root}: a repair was interrupted here; `ckptdoctor undo {root}` takes it back first."
            )
        return _committed(disk, root, changes, title)


def _committed(disk: Disk, root: str, changes: Sequence[Change], title: str) -> Committed:
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


def _give_up(disk: Disk, now: str, root: str, entry: Entry | None) -> None:
    """Take back what was done so far, on a disk that may still be full."""
    if entry is None:  # nothing was changed, and we hold the directory: what is open was begun just now
        with suppress(OSError):
            for begun in interrupted(root):
                journal.drop(disk, root, begun)
            journal.sweep(disk, root)
        return
    beside = os.path.dirname(os.path.abspath(root))
    renamed = [os.path.join(beside, record.to) for record in entry.records if record.kind == "rename"]
    place = next(path for path in (now, root, *renamed) if os.path.isdir(path))
    if journal.state(place, entry) == "committed":  # the mark was made, and then the disk failed
        entry = journal.seal(disk, place, entry, "undoing")
    place = roll_back(disk, place, entry).root
    with suppress(OSError):  # the entry stays open, and rolling back what is back already is no harm
        journal.drop(disk, place, entry)


@contextmanager
def _as_fix_error(root: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FixError(f"{root}: {error.strerror or error}; nothing was changed.") from error


@contextmanager
def _explained(error: BaseException, root: str) -> Iterator[None]:
    """Turn what the system said into a FixError, after the block has taken everything back."""
    try:
        yield
    except (OSError, FixError) as second:
        raise FixError(
            f"{root}: {error}; taking it back failed as well: {second} "
            f"Nothing is lost: `ckptdoctor undo {root}` finishes that once the disk can be written."
        ) from error
    if isinstance(error, OSError):
        raise FixError(f"{root}: {error.strerror or error}; nothing was changed.") from error


def _prepare(disk: Disk, root: str, entry: Entry, changes: Sequence[Change]) -> None:
    """Write all that takes room before anything is changed: a disk that is full then leaves nothing to take back."""
    cut = {change.file for change in changes if isinstance(change, Truncate)}
    for number, change in enumerate(changes):
        # A file that is cut first is copied when it has been.
        if isinstance(change, Replace) or (isinstance(change, Splice) and change.file not in cut):
            _write(disk, root, entry, number, change)
    journal.announce(disk, root, entry, "undoing")
    journal.announce(disk, root, entry, "committed")


def _write(disk: Disk, root: str, entry: Entry, number: int, change: Replace | Splice) -> None:
    new = journal.kept(root, entry, number, "new")
    path = os.path.join(root, change.file)
    if isinstance(change, Replace):
        disk.write(new, change.content)
    else:
        disk.compose(new, change.head, path, len(change.was))
    if os.path.exists(path):
        disk.like(new, path)
    disk.sync(new)


def _apply(disk: Disk, root: str, entry: Entry, number: int, change: Change) -> str:
    """Do one change durably; return where the directory is then."""
    if isinstance(change, Rename):
        to = os.path.join(os.path.dirname(os.path.abspath(root)), change.to)
        disk.rename(root, to)
        disk.sync_dir(os.path.dirname(to))
        return to
    path = os.path.join(root, change.file)
    if isinstance(change, Replace | Splice):
        new = journal.kept(root, entry, number, "new")
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
