"""The one place that writes to a checkpoint's directory, one operation of the file system at a time.

Tests put their own in its place: one that records every operation, one that fails at the n-th, one that kills.
"""

from __future__ import annotations

import os

CHUNK = 8 * 1024 * 1024
"""Bytes copied at a time, so that a shard of any size takes no memory."""


class Disk:
    """Operations on paths; each either happens or raises OSError."""

    def mkdir(self, path: str) -> None:
        """Make a directory, which must not exist."""
        os.mkdir(path)

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole, over what was there. Not durable before ``sync``."""
        with open(path, "wb") as file:
            file.write(content)

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        """Write a new file: ``head``, then the bytes of ``source`` from ``skip`` on."""
        with open(path, "wb") as file, open(source, "rb") as rest:
            file.write(head)
            rest.seek(skip)
            while chunk := rest.read(CHUNK):
                file.write(chunk)

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        """Write over bytes in place; past the end the file grows."""
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(content)

    def append_from(self, path: str, offset: int, source: str) -> None:
        """Write the bytes of ``source`` into ``path`` from ``offset`` on."""
        with open(path, "r+b") as file, open(source, "rb") as rest:
            file.seek(offset)
            while chunk := rest.read(CHUNK):
                file.write(chunk)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file."""
        os.truncate(path, size)

    def like(self, path: str, model: str) -> None:
        """Give a file the permissions of another."""
        os.chmod(path, os.stat(model).st_mode & 0o7777)

    def sync(self, path: str) -> None:
        """Make the bytes of a file durable."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable (where the system can: Windows cannot open one)."""
        if os.name != "nt":
            self.sync(path)

    def rename(self, path: str, to: str) -> None:
        """Give a file or directory another name; a file of that name is replaced in the same step."""
        os.replace(path, to)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)
