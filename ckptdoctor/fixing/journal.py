"""What was done to a checkpoint, and all that it takes to undo it: ``.ckptdoctor/journal/NUMBER/``.

``entry.json`` says what was to be done and how far it got; ``N.was`` holds the bytes that change N replaces, ``N.now``
the head that a patch writes. An entry exists once ``entry.json`` does, by a rename, after everything in it is durable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

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
    base = home(root)
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
    announce(disk, root, entry, state)
    return seal(disk, root, entry, state)


def announce(disk: Disk, root: str, entry: Entry, state: State) -> None:
    """Write what ``seal`` will put in place, so that it needs no room then."""
    path = os.path.join(folder(root, entry.id), f"{state}.new")
    value = {**entry._asdict(), "state": state, "records": [record._asdict() for record in entry.records]}
    disk.write(path, (json.dumps(value, indent=1) + "\n").encode())
    disk.sync(path)


def seal(disk: Disk, root: str, entry: Entry, state: State) -> Entry:
    """Let an entry have the state that was announced, durably."""
    place = folder(root, entry.id)
    disk.rename(os.path.join(place, f"{state}.new"), os.path.join(place, "entry.json"))
    disk.sync_dir(place)
    return entry._replace(state=state)


def before(root: str, entry: Entry, number: int) -> bytes:
    """Return the bytes that change ``number`` replaced. Raises FixError when they are not what was kept."""
    return _kept(os.path.join(folder(root, entry.id), f"{number}.was"), entry.records[number].was)


def after(root: str, entry: Entry, number: int) -> bytes:
    """Return the head that patch ``number`` wrote. Raises FixError when it is not what was kept."""
    return _kept(os.path.join(folder(root, entry.id), f"{number}.now"), entry.records[number].now)


def _kept(path: str, sha256: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read()
    if digest(content) != sha256:
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
    if isinstance(change, Patch):
        image = os.path.join(place, f"{number}.now")
        disk.write(image, new)
        disk.sync(image)
    kind = {Replace: "replace", Patch: "patch", Splice: "splice"}[type(change)]
    return Record(kind, change.file, "", digest(was), len(was), digest(new), len(new))


def home(root: str) -> str:
    """Return the directory of the entries. Raises FixError where a link leads elsewhere: a download may hold one."""
    path = os.path.join(root, HOME, "journal")
    for part in (os.path.dirname(path), path):
        if os.path.islink(part):
            raise FixError(f"{part}: expected a directory of ckptdoctor's own, got a link; remove it.")
    return path


def _read(root: str, name: str) -> Entry | None:
    """Return an entry; a download may hold one that ckptdoctor never wrote, so nothing in it is taken on trust."""
    place = folder(root, name)
    path = os.path.join(place, "entry.json")
    if not os.path.lexists(path):
        return None
    try:
        if any(os.path.islink(part) for part in (place, path, *_within(place))):
            raise ValueError("a link")
        with open(path, "rb") as file:
            value: dict[str, Any] = json.loads(file.read())
        records = tuple(_checked(Record(**record)) for record in value["records"])
        device, inode = (int(number) for number in value["inode"])
        title, root_then, state = str(value["title"]), str(value["root"]), value["state"]
        if state not in get_args(State):
            raise ValueError(f"the state {state!r}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FixError(f"{path}: expected a journal of ckptdoctor, got something else: {error}") from error
    return Entry(name, title, state, root_then, (device, inode), records)


def _within(place: str) -> list[str]:
    return [os.path.join(place, name) for name in os.listdir(place)]


_KINDS = frozenset({"rename", "move", "truncate", "create", "replace", "patch", "splice"})


def _checked(record: Record) -> Record:
    """Return the record. Raises ValueError when it is none that ``_record`` makes."""
    texts, sizes = (record.kind, record.file, record.to, record.was, record.now), record[4::2]
    if not all(isinstance(text, str) for text in texts) or record.kind not in _KINDS:
        raise ValueError(f"the record {record}")
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"the sizes {sizes}")
    if record.kind == "rename" and (record.to in ("", ".", "..") or os.path.basename(record.to) != record.to):
        raise ValueError(f"the name {record.to!r}")
    return record
