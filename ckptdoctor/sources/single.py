"""One ``.safetensors`` file on its own, without the checkpoint around it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .base import Span, Stat, Unavailable
from .local import open_file, read_spans, stat_file


class SingleSource:
    """A checkpoint of exactly one file. It is opened wherever it is: the user named it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.label = os.fspath(path)
        self._real = os.path.realpath(path)
        self._name = os.path.basename(os.path.abspath(path))

    def entries(self) -> dict[str, Stat]:
        """Return the one file."""
        try:
            found = os.stat(self._real)
        except OSError:
            return {self._name: Stat(0, "unreadable")}
        return {self._name: stat_file(self._real, found)}

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return the bytes of each span."""
        return read_spans(spans, self.descriptor)

    def descriptor(self, name: str) -> int | Unavailable:
        """Open the file ``name`` for reading; the caller closes it."""
        if name != self._name:
            return Unavailable(f"{name}: no such file")
        if self.entries()[name].state == "pointer":
            return Unavailable(f"{name}: a Git LFS pointer")
        return open_file(self._real)
