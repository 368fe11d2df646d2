"""What was done to a checkpoint, and all that it takes to undo it: ``.ckptdoctor/journal/NUMBER-TAG/``.

``entry.json`` says what was to be done and how far it got; ``N.was`` holds the bytes that change N replaces, ``N.now``
the head that a patch writes. An entry exists once ``entry.json`` does, by a rename, after everything in it is durable.
What is not ours (``ownership``) is never read beyond its name and its MAC, never changed and never in the way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress

from ..sources import ownership
from ..sources.ownership import FORGOTTEN, HOME, JOURNAL
from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from .disk import Disk
from .errors import FixError
from .records import HEAD, MAX_BYTES, Entry, Record, State, digest, digest_of, read, written

_OURS = re.compile(r"(entry|open|committed|undoing)\.json|\.gitignore|[0-9]+\.(was|now|new|back)")
_SPARE = re.compile(r"[0-9]+\.(new|back)")
_DIGITS = 6
"""Digits of a foreign entry's number that is counted past."""


def folder(root: str, entry: Entry) -> str:
    """Return the directory of one entry."""
    return os.path.join(root, HOME, "journal", entry.name)


def kept(root: str, entry: Entry, number: int, kind: str = "was") -> str:
    """Return the path of what is kept for change ``number``: ``was``, ``now`` or ``new``."""
    return os.path.join(folder(root, entry), f"{number}.{kind}")


def secret(*, make: bool = False) -> bytes | None:
    """Return the key. Raises FixError when it cannot be had or not be trusted."""
    try:
        return ownership.key(make=make)
    except ownership.StateError as error:
        raise FixError(str(error)) from error


def entries(root: str) -> list[Entry]:
    """Return the entries that were written here for ``root``, oldest first. Raises FixError without a sound key."""
    names = _names(root)
    if not names or (known := secret()) is None:
        return []
    inode = os.stat(root).st_ino
    ours = [(found, name) for name in names if (found := ownership.number(name, inode, known)) is not None]
    read_ = [_read(root, name, inode, known) for _, name in sorted(ours)]
    return [entry for entry in read_ if entry is not None]


def begin(disk: Disk, root: str, changes: Sequence[Change], title: str) -> Entry:
    """Write the entry for ``changes`` with all it takes to undo them, durable before it returns."""
    known = _key()
    place = ready(root)
    for path in (os.path.dirname(place), place):
        if not os.path.isdir(path):
            disk.mkdir(path)
    disk.sync_dir(os.path.dirname(place))
    disk.sync_dir(root)
    inode = os.stat(root).st_ino
    number = _next(root, inode, known)
    name = ownership.name(number, inode, known)
    entry = Entry(f"{number:04d}", name, title, "open", os.path.abspath(root), inode, ())
    disk.mkdir(folder(root, entry))
    # In here, so that nothing but what carries our name has to be told from a stranger's when it goes again.
    disk.write(os.path.join(folder(root, entry), ".gitignore"), b"*\n")
    records = tuple(_record(disk, root, entry, number, change) for number, change in enumerate(changes))
    entry = entry._replace(records=records)
    disk.sync_dir(folder(root, entry))
    disk.sync_dir(place)
    return mark(disk, root, entry, "open")


def ready(root: str) -> str:
    """Return the directory of the entries. Raises FixError where a link or a file is in its place."""
    path = os.path.join(root, *JOURNAL.split("/"))
    for part in (os.path.dirname(path), path):
        if os.path.lexists(part) and (os.path.islink(part) or not os.path.isdir(part)):
            what = "a link" if os.path.islink(part) else "a file"
            raise FixError(
                f"{part}: expected a directory of ckptdoctor's own or none, got {what}; remove it."
            )
    return path


def state(root: str, entry: Entry) -> State | None:
    """Return how far an entry got by what the disk says, None when it says nothing."""
    found = _read(root, entry.name, entry.inode, _key())
    return None if found is None else found.state


def mark(disk: Disk, root: str, entry: Entry, state: State) -> Entry:
    """Say durably how far an entry got."""
    announce(disk, root, entry, state)
    return seal(disk, root, entry, state)


def announce(disk: Disk, root: str, entry: Entry, state: State) -> None:
    """Write what ``seal`` will put in place, so that it needs no room then."""
    path = os.path.join(folder(root, entry), f"{state}.json")
    content = written(entry._replace(state=state), _key())
    if _content(path) != content:
        disk.write(path, content)
    disk.sync(path)


def seal(disk: Disk, root: str, entry: Entry, state: State) -> Entry:
    """Let an entry have the state that was announced, durably."""
    place = folder(root, entry)
    disk.rename(os.path.join(place, f"{state}.json"), os.path.join(place, "entry.json"))
    disk.sync_dir(place)
    return entry._replace(state=state)


def drop(disk: Disk, root: str, entry: Entry) -> None:
    """Remove an entry of which nothing is left to do. What is not ours stays, and so do the directories it is in."""
    place = folder(root, entry)
    if os.path.lexists(os.path.join(place, "entry.json")):
        disk.unlink(os.path.join(place, "entry.json"))
    disk.sync_dir(place)  # also where it is gone already: a run that was killed may not have come to this
    with suppress(OSError):  # without entry.json it is no entry: what is left of it goes another time
        for name in os.listdir(place):
            if _OURS.fullmatch(name):
                disk.unlink(os.path.join(place, name))
        if not os.listdir(place):
            disk.rmdir(place)
        _drop_empty(disk, root)


def forget(disk: Disk, root: str, entry: Entry) -> str:
    """Let an entry count no more and keep what is kept for it; return its directory, by its path below ``root``."""
    place = folder(root, entry)
    disk.rename(place, place + FORGOTTEN)
    disk.sync_dir(os.path.dirname(place))
    return f"{JOURNAL}/{entry.name}{FORGOTTEN}"


def sweep(disk: Disk, root: str) -> None:
    """Remove what an interrupted run left that is no entry yet, or none any more: nothing was changed by it."""
    if not os.path.lexists(os.path.join(root, HOME)):
        return
    names = _names(root)
    known = secret() if names else None
    inode = os.stat(root).st_ino
    for name in names:
        if ownership.number(name, inode, known) is None:
            continue
        entry = Entry("", name, "", "open", root, inode, ())
        with suppress(OSError):
            if os.path.lexists(os.path.join(folder(root, entry), "entry.json")):
                drop_spare(disk, root, entry)
            else:
                drop(disk, root, entry)
    with suppress(OSError):
        _drop_empty(disk, root)


def drop_spare(disk: Disk, root: str, entry: Entry) -> None:
    """Remove copies that have been put in their place, or never will be; after a power cut one may have both names."""
    place = folder(root, entry)
    for name in os.listdir(place):
        if _SPARE.fullmatch(name):
            disk.unlink(os.path.join(place, name))


def _drop_empty(disk: Disk, root: str) -> None:
    home, place = os.path.join(root, HOME), os.path.join(root, *JOURNAL.split("/"))
    for path in (place, home):
        if os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path):
            disk.rmdir(path)
    disk.sync_dir(home if os.path.isdir(home) and not os.path.islink(home) else root)


def _key() -> bytes:
    known = secret(make=True)
    assert known is not None
    return known


def _names(root: str) -> list[str]:
    """Return what lies where entries do; nothing where that is no directory."""
    try:
        return os.listdir(ready(root))
    except (FixError, OSError):
        return []


def _next(root: str, inode: int, known: bytes) -> int:
    """Return the next number: past our own, and past those of strangers, so that none is taken for the other."""
    used = [0]
    for name in _names(root):
        found = re.match(rf"[0-9]{{1,{_DIGITS}}}(?![0-9])", name)
        ours = ownership.number(name.removesuffix(FORGOTTEN), inode, known)
        used += [ours] if ours is not None else [int(found[0])] if found else []
    return max(used) + 1


def _content(path: str) -> bytes | None:
    """Return the bytes of a small file of ours, None where there is none or something else."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def _read(root: str, name: str, inode: int, known: bytes) -> Entry | None:
    place = os.path.join(root, *JOURNAL.split("/"), name)
    content = None if os.path.islink(place) else _content(os.path.join(place, "entry.json"))
    entry = None if content is None else read(content, known)
    return entry if entry is not None and (entry.name, entry.inode) == (name, inode) else None


def _record(disk: Disk, root: str, entry: Entry, number: int, change: Change) -> Record:
    """Keep what undoing one change takes, with the permissions of the file it is to be again."""
    if isinstance(change, Rename):
        return Record("rename", to=change.to)
    path, kept_ = os.path.join(root, change.file), kept(root, entry, number)
    if isinstance(change, Move):
        return Record("move", change.file, change.to, digest_of(path, HEAD), os.path.getsize(path))
    if isinstance(change, Truncate):
        disk.compose(kept_, b"", path, change.size)
        disk.sync(kept_)
        return Record("truncate", change.file, "", digest_of(kept_), change.was, now_size=change.size)
    if isinstance(change, Replace) and change.was is None:
        return Record("create", change.file, now=digest(change.content), now_size=len(change.content))
    new, was = change.head if isinstance(change, Splice) else change.content, change.was or b""
    disk.write(kept_, was)
    if isinstance(change, Replace):
        disk.like(kept_, path)
    disk.sync(kept_)
    if isinstance(change, Patch):
        image = kept(root, entry, number, "now")
        disk.write(image, new)
        disk.sync(image)
    kind = {Replace: "replace", Patch: "patch", Splice: "splice"}[type(change)]
    return Record(kind, change.file, "", digest(was), len(was), digest(new), len(new))
