"""What an entry of the journal says, and how it is written: JSON whose bytes carry a MAC.

The MAC is compared before anything is parsed, so that what ckptdoctor did not write is never even read as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Literal, NamedTuple, TypeAlias

from ..sources import ownership
from .disk import CHUNK

State: TypeAlias = Literal["open", "committed", "undoing"]
"""``open`` and ``undoing`` are to be rolled back when they are found. What is rolled back has no entry any more."""
MAX_BYTES = 64 * 1024 * 1024
"""An entry has some 300 bytes per file; none is as long as this."""
HEAD = 65_536
"""Bytes of a file that was moved by which it is known again, together with its size."""

_START, _MIDDLE, _END = b'{"mac": "', b'",\n"entry": ', b"}\n"
_MAC = 64


class Record(NamedTuple):
    """One change as the journal keeps it: sizes and digests instead of bytes."""

    kind: str
    file: str = ""
    to: str = ""
    was: str = ""
    """SHA-256 of the bytes in ``N.was``, "" where there are none; for a move of the first ``HEAD`` bytes."""
    was_size: int = 0
    """Length of those bytes; of the whole file for a cut or a move."""
    now: str = ""
    """SHA-256 of the bytes that were written."""
    now_size: int = 0


class Entry(NamedTuple):
    """One run of ``fix``."""

    id: str
    name: str
    """The name of its directory: the number, and what only this user can make of it."""
    title: str
    state: State
    root: str
    """Absolute path of the directory when it began."""
    inode: int
    """Inode of the directory: an entry counts for no other."""
    records: tuple[Record, ...]


def written(entry: Entry, secret: bytes) -> bytes:
    """Return the bytes of ``entry.json``."""
    value = {**entry._asdict(), "records": [record._asdict() for record in entry.records]}
    payload = json.dumps(value, indent=1).encode()
    return _START + ownership.mac(payload, secret) + _MIDDLE + payload + _END


def read(content: bytes, secret: bytes) -> Entry | None:
    """Return the entry in ``content``, None when it was not written with ``secret``."""
    begin = len(_START) + _MAC
    stated, payload = content[len(_START) : begin], content[begin + len(_MIDDLE) : -len(_END)]
    if not ownership.authentic(payload, stated, secret):
        return None
    value: dict[str, Any] = json.loads(payload)
    return Entry(**{**value, "records": tuple(Record(**record) for record in value["records"])})


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_of(path: str, size: int | None = None, start: int = 0) -> str:
    """Return the SHA-256 of ``size`` bytes of a file (None: of all) from ``start`` on, "" where there is none."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK if size is None else min(size, CHUNK)):
                found.update(chunk)
                size = None if size is None else size - len(chunk)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""
    return found.hexdigest()


def size_of(path: str) -> int:
    """Return the size of a file, -1 where there is none."""
    return os.path.getsize(path) if os.path.isfile(path) else -1
