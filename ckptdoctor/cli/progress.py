"""One line on stderr that tells how far a run is, for people only: drawn over, and taken away at the end."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TypeVar

from ..render.safe import clean, elide

_PATIENCE = 0.5
"""Seconds before a bar appears: a usual run does not take that long."""
_OFTEN = 0.1
"""Seconds between two drawings."""
_BAR = 24
_CLEAR = "\r\x1b[2K"
"""Back to the start of the line, which is erased (ECMA-48: EL 2)."""
_Self = TypeVar("_Self", bound="Line")


class Line:
    """The line. Inert unless stderr is a terminal; it first appears after ``patience`` seconds."""

    def __init__(self, patience: float | None = None) -> None:
        self.begun = time.monotonic()
        self._next = self.begun + (_PATIENCE if patience is None else patience)
        self._drawn = False
        self._wanted = sys.stderr.isatty()

    def due(self) -> bool:
        """Tell whether it is time to draw again."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return False
        self._next = now + _OFTEN
        return True

    def draw(self, text: str) -> None:
        """Show ``text`` in place of what was there."""
        self._write(_CLEAR + text)
        self._drawn = True

    def __enter__(self: _Self) -> _Self:
        """Return itself; the line is taken away when the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self._drawn:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()


def bar(done: int, total: int) -> str:
    """Return a bar that is filled as far as ``done`` is of ``total``."""
    full = _BAR * min(done, total) // max(total, 1)
    return "━" * full + "─" * (_BAR - full)


class Progress(Line):
    """Counts files read; call it with (files read, files to read)."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = clean(label)

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` files are read."""
        if self.due():
            end = f"  {bar(done, total)} {done}/{total} files"
            room = shutil.get_terminal_size().columns - len(end) - 1
            self.draw(f"{elide(f'Reading {self._label}', max(room, 12))}{end}")
