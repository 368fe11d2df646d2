"""Back to the bytes before: from whatever state an interruption left, any number of times over.

Nothing is removed that the repair did not write, and nothing is written over that is neither what was there before it
nor what it made: what stands in the way of a name is set aside, and told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from . import journal
from .disk import CHUNK, Disk
from .errors import FixError
from .records import HEAD, Entry, Record, digest, digest_of, size_of
from .writable import inside, plain, regular, unused


class Rolled(NamedTuple):
    """Where the directory is now, and what its owner should know."""

    root: str
    notes: tuple[str, ...]
    left: tuple[str, ...]
    """What could not be taken back, and why; only where that was allowed."""


def roll_back(disk: Disk, root: str, entry: Entry, *, partly: bool = False) -> Rolled:
    """Undo every change of ``entry`` that has happened, the last one first.

    Raises FixError or OSError at the first that cannot be undone; with ``partly`` goes on without it.
    """
    with suppress(OSError):
        journal.drop_spare(disk, root, entry)
    back = _Back(disk, root, entry)
    left = []
    for number in reversed(range(len(entry.records))):
        try:
            back.undo(number)
        except (FixError, OSError) as error:
            if not partly:
                raise
            left.append(str(error))
    if not partly:
        _settle(disk, back.root, entry)
    return Rolled(back.root, tuple(back.notes), tuple(left))


class _Back:
    """One entry on its way back."""

    def __init__(self, disk: Disk, root: str, entry: Entry) -> None:
        self._disk = disk
        self.root = root
        self._entry = entry
        self.notes: list[str] = []
        self._kinds: dict[str, Callable[[int, Record, str], None]] = {
            "create": self._create,
            "replace": self._replace,
            "patch": self._patch,
            "splice": self._splice,
            "truncate": self._truncate,
            "move": self._move,
        }

    def undo(self, number: int) -> None:
        record = self._entry.records[number]
        if record.kind == "rename":
            self._rename(record)
        else:
            self._kinds[record.kind](number, record, inside(self.root, record.file))

    def _create(self, number: int, record: Record, path: str) -> None:
        # The older file that a move was to take out of its way may well have the same bytes.
        aside = [move.to for move in self._entry.records if move.kind == "move" and move.file == record.file]
        moved = all(os.path.exists(os.path.join(self.root, to)) for to in aside)
        if moved and not os.path.islink(path) and digest_of(path) == record.now:
            self._disk.unlink(path)
            self._disk.sync_dir(os.path.dirname(path))

    def _replace(self, number: int, record: Record, path: str) -> None:
        # Put in place by a rename, it is either wholly the old file or wholly the new one.
        here = "" if os.path.islink(path) else digest_of(path)
        if here == record.was:
            return
        if here != record.now:
            raise _strange(path)
        regular(path, _AGAIN)
        kept = journal.kept(self.root, self._entry, number)
        _sound(kept, record)
        self._put(kept, path)

    def _patch(self, number: int, record: Record, path: str) -> None:
        was = _bytes(journal.kept(self.root, self._entry, number), record.was)
        now = _bytes(journal.kept(self.root, self._entry, number, "now"), record.now)
        here = b"" if os.path.islink(path) or not os.path.isfile(path) else _head(path, len(was))
        if here == was:
            return
        # Torn, each byte is an old one, a new one, or zero.
        if len(here) != len(was) or any(c not in (a, b, 0) for a, b, c in zip(was, now, here, strict=True)):
            raise _strange(path)
        regular(path, _AGAIN)
        try:
            self._disk.overwrite(path, 0, was)
            self._disk.sync(path)
        except OSError:  # that place on the disk may be broken: the file is written anew elsewhere
            new = journal.kept(self.root, self._entry, number, "back")
            self._disk.compose(new, was, path, len(was))
            self._put(new, path)

    def _splice(self, number: int, record: Record, path: str) -> None:
        here = "" if os.path.islink(path) else digest_of(path, record.now_size)
        if here != record.now:
            if digest_of(path, record.was_size) != record.was:
                raise _strange(path)
            return
        regular(path, _AGAIN)
        new = journal.kept(self.root, self._entry, number, "back")
        was = _bytes(journal.kept(self.root, self._entry, number), record.was)
        self._disk.compose(new, was, path, record.now_size)
        self._put(new, path)

    def _truncate(self, number: int, record: Record, path: str) -> None:
        size = -1 if os.path.islink(path) else size_of(path)
        if not record.now_size <= size <= record.was_size:
            raise _strange(path)
        kept = journal.kept(self.root, self._entry, number)
        if _continues(path, record.now_size, kept):  # a full disk need not take them twice
            return
        _sound(kept, record)
        regular(path, _AGAIN)
        try:
            self._disk.append_from(path, record.now_size, kept)
            self._disk.sync(path)
        except OSError:
            self._anew(number, record, path, kept)

    def _anew(self, number: int, record: Record, path: str, kept: str) -> None:
        """Write a file that was cut elsewhere on the disk, with its tail."""
        new = journal.kept(self.root, self._entry, number, "back")
        self._disk.compose(new, b"", path, 0)
        self._disk.truncate(new, record.now_size)
        self._disk.append_from(new, record.now_size, kept)
        self._put(new, path)

    def _move(self, number: int, record: Record, path: str) -> None:
        there = inside(self.root, record.to)
        if not os.path.lexists(there):
            if not os.path.lexists(path):
                raise _strange(there)
            return
        if os.path.lexists(path):
            if self._is_original(path, record):  # it had not been moved yet
                return
            self._aside(path)
        self._disk.rename(there, path)
        for folder in dict.fromkeys((os.path.dirname(path), os.path.dirname(there))):
            self._disk.sync_dir(folder)

    def _is_original(self, path: str, record: Record) -> bool:
        """Whether a file is the one that was to be moved, as it was or as the repair had changed it by then."""
        if os.path.islink(path):
            return False
        if size_of(path) == record.was_size and digest_of(path, HEAD) == record.was:
            return True
        for other in self._entry.records:
            if other.file != record.file or other.kind in ("move", "create"):
                continue
            if other.kind == "truncate":
                if other.now_size <= size_of(path) <= other.was_size:
                    return True
            elif digest_of(path, other.now_size) == other.now or digest_of(path, other.was_size) == other.was:
                return True
        return False

    def _aside(self, path: str) -> None:
        to = unused(path)
        self._disk.rename(path, to)
        self._disk.sync_dir(os.path.dirname(path))
        self.notes.append(f"{path} was not there when the repair began: set aside as {os.path.basename(to)}")

    def _rename(self, record: Record) -> None:
        absolute = os.path.abspath(self.root)
        name = os.path.basename(self._entry.root)
        plain(name)
        old = os.path.join(os.path.dirname(absolute), name)
        if os.path.basename(absolute) != record.to:  # not renamed yet, or since then by hand
            return
        if os.path.lexists(old):
            self.notes.append(f"the directory keeps its name: there is another {old} now")
            return
        self._disk.rename(absolute, old)
        self._disk.sync_dir(os.path.dirname(old))
        self.root = old

    def _put(self, new: str, path: str) -> None:
        """Let ``new`` take the place of ``path``, with its permissions, and stay open where ``path`` was."""
        self._disk.hold(new)
        self._disk.like(new, path)
        self._disk.sync(new)
        self._disk.rename(new, path)
        self._disk.sync_dir(os.path.dirname(path))


def _settle(disk: Disk, root: str, entry: Entry) -> None:
    """Make durable what was found in order: a run that was killed may have put it there and never have synced it."""
    folders = {os.path.dirname(os.path.abspath(root)): None}
    for record in entry.records:
        for file in filter(None, (record.file, record.to if record.kind == "move" else "")):
            path = inside(root, file)
            folders[os.path.dirname(path)] = None
            if os.path.isfile(path) and not os.path.islink(path):
                disk.sync(path)
    for folder in folders:
        disk.sync_dir(folder)


def _continues(path: str, offset: int, kept: str) -> bool:
    """Whether the bytes of ``kept`` are where they belong."""
    with open(path, "rb") as file, open(kept, "rb") as rest:
        file.seek(offset)
        while chunk := rest.read(CHUNK):
            if file.read(len(chunk)) != chunk:
                return False
    return True


def _head(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


def _bytes(path: str, sha256: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read()
    if digest(content) != sha256:
        raise _spoilt(path)
    return content


def _sound(path: str, record: Record) -> None:
    if digest_of(path) != record.was:
        raise _spoilt(path)


def _spoilt(path: str) -> FixError:
    return FixError(
        f"{path}: expected the bytes that were kept there, got others or none; they were changed since."
    )


_AGAIN = "Put it back, then run `ckptdoctor undo` again."


def _strange(path: str) -> FixError:
    return FixError(
        f"{path}: expected the file that the repair was changing, got another one or none. Put that file back, or take "
        "back what can be and keep this one: `ckptdoctor undo --forget`"
    )
