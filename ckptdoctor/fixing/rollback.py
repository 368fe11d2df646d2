"""Back to the bytes before: from whatever state an interruption left, any number of times over."""

from __future__ import annotations

import os

from . import journal
from .disk import CHUNK, Disk
from .errors import FixError
from .guard import inside
from .journal import Entry, Record, digest


def roll_back(disk: Disk, root: str, entry: Entry) -> str:
    """Undo every change of ``entry`` that has happened, the last one first; return where the directory is then."""
    for number in reversed(range(len(entry.records))):
        root = _undo(disk, root, entry, number)
    _settle(disk, root, entry)
    for name in os.listdir(journal.folder(root, entry.id)):
        if name.endswith((".new", ".back")):
            disk.unlink(os.path.join(journal.folder(root, entry.id), name))
    return root


def _undo(disk: Disk, root: str, entry: Entry, number: int) -> str:
    record = entry.records[number]
    if record.kind == "rename":
        return _directory(disk, root, entry, record)
    path = inside(root, record.file)
    if os.path.islink(path):
        raise FixError(f"{path}: expected a file of this directory, got a link; put the file back.")
    back = os.path.join(journal.folder(root, entry.id), f"{number}.back")
    if record.kind == "create":
        if os.path.exists(path) and _is_ours(root, entry, record):
            disk.unlink(path)
            disk.sync_dir(os.path.dirname(path))
    elif record.kind == "replace":
        # Put in place by a rename, it is either wholly the new file or not ours to touch.
        if _head(path, None) == record.now:
            disk.write(back, journal.before(root, entry, number))
            _put(disk, back, path)
    elif record.kind == "patch":
        _must_be_ours(path, journal.before(root, entry, number), journal.after(root, entry, number))
        disk.overwrite(path, 0, journal.before(root, entry, number))
        disk.sync(path)
    elif record.kind == "splice":
        if _head(path, record.now_size) == record.now:
            disk.compose(back, journal.before(root, entry, number), path, record.now_size)
            _put(disk, back, path)
    elif record.kind == "truncate":
        if not record.now_size <= _size(path) <= record.was_size:
            raise _strange(path)
        kept = os.path.join(journal.folder(root, entry.id), f"{number}.was")
        if not _continues(path, record.now_size, kept):
            disk.append_from(path, record.now_size, kept)
        disk.sync(path)
    elif record.kind == "move":
        _move(disk, inside(root, record.to), path)
    return root


def _settle(disk: Disk, root: str, entry: Entry) -> None:
    """Make durable what was found in order: a run that was killed may have put it there and never have synced it."""
    folders = {os.path.dirname(os.path.abspath(root)): None}
    for record in entry.records:
        for file in filter(None, (record.file, record.to if record.kind == "move" else "")):
            path = inside(root, file)
            folders[os.path.dirname(path)] = None
            if os.path.isfile(path):
                disk.sync(path)
    for folder in folders:
        disk.sync_dir(folder)


def _must_be_ours(path: str, was: bytes, now: bytes) -> None:
    """Raise FixError for a file that somebody else put there. Torn, each byte is an old one, a new one, or zero."""
    here = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            here = file.read(len(was))
    if len(here) != len(was) or any(c not in (a, b, 0) for a, b, c in zip(was, now, here, strict=True)):
        raise _strange(path)


def _continues(path: str, offset: int, kept: str) -> bool:
    """Whether the bytes of ``kept`` are where they belong; a full disk need not take them twice."""
    with open(path, "rb") as file, open(kept, "rb") as rest:
        file.seek(offset)
        while chunk := rest.read(CHUNK):
            if file.read(len(chunk)) != chunk:
                return False
    return True


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else -1


def _strange(path: str) -> FixError:
    return FixError(
        f"{path}: expected the file that an interrupted repair was changing, got another one. Put that file back, or "
        "remove .ckptdoctor/journal to keep this one."
    )


def _is_ours(root: str, entry: Entry, record: Record) -> bool:
    """Whether a file is the one that was created, not the older one that a move was to take out of its way."""
    aside = [other.to for other in entry.records if other.kind == "move" and other.file == record.file]
    moved = all(os.path.exists(os.path.join(root, to)) for to in aside)
    return moved and _head(os.path.join(root, record.file), record.now_size) == record.now


def _move(disk: Disk, there: str, back: str) -> None:
    if os.path.exists(there) and not os.path.exists(back):
        disk.rename(there, back)
        for folder in dict.fromkeys((os.path.dirname(back), os.path.dirname(there))):
            disk.sync_dir(folder)


def _directory(disk: Disk, root: str, entry: Entry, record: Record) -> str:
    absolute = os.path.abspath(root)
    old = os.path.join(os.path.dirname(absolute), os.path.basename(entry.root))
    if os.path.basename(absolute) != record.to or os.path.lexists(old):
        return root
    disk.rename(absolute, old)
    disk.sync_dir(os.path.dirname(old))
    return old


def _head(path: str, size: int | None) -> str:
    """Return the digest of the first ``size`` bytes (None: of all), "" where there is no such file."""
    try:
        with open(path, "rb") as file:
            return digest(file.read(size))
    except FileNotFoundError:
        return ""


def _put(disk: Disk, new: str, path: str) -> None:
    disk.like(new, path)
    disk.sync(new)
    disk.rename(new, path)
    disk.sync_dir(os.path.dirname(path))
