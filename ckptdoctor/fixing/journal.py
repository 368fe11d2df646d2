"""What was done to a checkpoint, and all that it takes to undo it: ``.ckptdoctor/journal/NUMBER/``.

``entry.json`` says what was to be done and how far it got; ``N.was`` holds the bytes that change N replaces. An entry
exists once ``entry.json`` does, by a rename, after everything in it is durable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError

HOME = ".ckptdoctor"
State: TypeAlias = Literal["open", "committed", "undoing", "undone"]
"""``open`` and ``undoing`` are rolled back when they are found; the other two are history."""


class Record(NamedTuple):
    """One change as the journal keeps it: sizes and digests instead of bytes."""

    kind: str
    file: str = ""
    to: str = ""
    was: str = ""
    """SHA-256 of the bytes in ``N.was``, "" where there are none."""
    was_size: int = 0
    """Length of those bytes; of the whole file for a cut."""
    now: str = ""
    """SHA-256 of the bytes that were written."""
    now_size: int = 0


class Entry(NamedTuple):
    """One run of ``fix``."""

    id: str
    title: str
    state: State
    root: str
    """Absolute path of the directory when it began."""
    inode: tuple[int, int]
    """Device and inode of the directory: what finds it under another name."""
    records: tuple[Record, ...]


def folder(root: str, entry_id: str) -> str:
    """Return the directory of one entry."""
    return os.path.join(root, HOME, "journal", entry_id)


def entries(root: str) -> list[Entry]:
    """Return the entries of ``root``, oldest first; what was never completed is no entry."""
    base = os.path.join(root, HOME, "journal")
    try:
        names = sorted(name for name in os.listdir(base) if name.isdigit())
    except OSError:
        return []
    return [entry for name in names if (entry := _read(root, name)) is not None]


def begin(disk: Disk, root: str, changes: Sequence[Change], title: str) -> Entry:
    """Write the entry for ``changes`` with all it takes to undo them, durable before it returns."""
    _home(disk, root)
    base = os.path.join(root, HOME, "journal")
    number = max((int(name) for name in os.listdir(base) if name.isdigit()), default=0) + 1
    entry_id = f"{number:04d}"
    place = folder(root, entry_id)
    disk.mkdir(place)
    records = tuple(_record(disk, root, place, number, change) for number, change in enumerate(changes))
    found = os.stat(root)
    entry = Entry(entry_id, title, "open", os.path.abspath(root), (found.st_dev, found.st_ino), records)
    disk.sync_dir(place)
    disk.sync_dir(base)
    return mark(disk, root, entry, "open")


def state(root: str, entry: Entry) -> State | None:
    """Return how far an entry got by what the disk says, None when it says nothing."""
    found = _read(root, entry.id)
    return None if found is None else found.state


def mark(disk: Disk, root: str, entry: Entry, state: State) -> Entry:
    """Say durably how far an entry got."""
    marked = entry._replace(state=state)
    path = os.path.join(folder(root, entry.id), "entry.json")
    value = {**marked._asdict(), "records": [record._asdict() for record in entry.records]}
    disk.write(path + ".new", (json.dumps(value, indent=1) + "\n").encode())
    disk.sync(path + ".new")
    disk.rename(path + ".new", path)
    disk.sync_dir(os.path.dirname(path))
    return marked


def before(root: str, entry: Entry, number: int) -> bytes:
    """Return the bytes that change ``number`` replaced. Raises FixError when they are not what was kept."""
    path = os.path.join(folder(root, entry.id), f"{number}.was")
    with open(path, "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != entry.records[number].was:
        raise FixError(f"{path}: expected the bytes that were kept there, got others; nothing was changed.")
    return content


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _home(disk: Disk, root: str) -> None:
    for path in (os.path.join(root, HOME), os.path.join(root, HOME, "journal")):
        if not os.path.isdir(path):
            disk.mkdir(path)
    # Whoever made the folder may not have got as far as this; a journal nobody finds undoes nothing.
    disk.sync_dir(os.path.join(root, HOME))
    disk.sync_dir(root)
    ignore = os.path.join(root, HOME, ".gitignore")
    if not os.path.exists(ignore):
        disk.write(ignore, b"*\n")


def _record(disk: Disk, root: str, place: str, number: int, change: Change) -> Record:
    kept = os.path.join(place, f"{number}.was")
    if isinstance(change, Rename):
        return Record("rename", to=change.to)
    if isinstance(change, Move):
        return Record("move", change.file, change.to)
    if isinstance(change, Truncate):
        disk.compose(kept, b"", os.path.join(root, change.file), change.size)
        disk.sync(kept)
        return Record("truncate", change.file, was_size=change.was, now_size=change.size)
    if isinstance(change, Replace) and change.was is None:
        return Record("create", change.file, now=digest(change.content), now_size=len(change.content))
    new = change.head if isinstance(change, Splice) else change.content
    was = change.was or b""
    disk.write(kept, was)
    disk.sync(kept)
    kind = {Replace: "replace", Patch: "patch", Splice: "splice"}[type(change)]
    return Record(kind, change.file, "", digest(was), len(was), digest(new), len(new))


def _read(root: str, name: str) -> Entry | None:
    path = os.path.join(folder(root, name), "entry.json")
    try:
        with open(path, "rb") as file:
            value: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FixError(
            f"{path}: expected a journal of ckptdoctor, got something unreadable: {error}"
        ) from error
    records = tuple(Record(**record) for record in value.pop("records"))
    inode = value.pop("inode")
    return Entry(**value, inode=(inode[0], inode[1]), records=records)
