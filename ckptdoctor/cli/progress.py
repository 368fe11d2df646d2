"""A progress bar on stderr, for people only and only when a run takes longer than half a second."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

from ..render.safe import clean, elide

_PATIENCE = 0.5
"""Seconds before the bar appears: a usual run does not take that long."""
_OFTEN = 0.1
"""Seconds between two drawings."""
_BAR = 30
_CLEAR = "\r\x1b[2K"
"""Back to the start of the line, which is erased (ECMA-48: EL 2)."""


class Progress:
    """Counts files read; call it with (files read, files to read). Inert unless stderr is a terminal."""

    def __init__(self, label: str) -> None:
        self._label = clean(label)
        self._next = time.monotonic() + _PATIENCE
        self._drawn = False
        self._wanted = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` files are read."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + _OFTEN
        full = _BAR * min(done, total) // max(total, 1)
        bar = "━" * full + "─" * (_BAR - full)
        end = f"  {bar} {done}/{total} files"
        room = shutil.get_terminal_size().columns - len(end) - 1
        self._write(f"{_CLEAR}{elide(f'Reading {self._label}', max(room, 12))}{end}")
        self._drawn = True

    def __enter__(self) -> Progress:
        """Return itself; the bar is taken away when the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._drawn:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()
