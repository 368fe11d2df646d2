"""Git LFS pointers: the ~130-byte text files a clone without git-lfs leaves in place of the weights."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SIZE = 1024
"""A pointer is smaller than this many bytes (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""

_MAGIC = b"version https://git-lfs"
_OID = re.compile(rb"^oid sha256:([0-9a-f]{64})\r?$", re.MULTILINE)
_SIZE = re.compile(rb"^size ([0-9]{1,19})\r?$", re.MULTILINE)


class Pointer(NamedTuple):
    """What a pointer says of the file it stands for."""

    size: int
    """Bytes; 0 when the pointer is damaged and does not say."""
    sha256: str | None


def parse(data: bytes) -> Pointer | None:
    """Return the pointer in ``data`` (the whole file), None when it is not one."""
    if len(data) >= MAX_SIZE or not data.startswith(_MAGIC):
        return None
    oid, size = _OID.search(data), _SIZE.search(data)
    return Pointer(int(size[1]) if size else 0, oid[1].decode() if oid else None)
