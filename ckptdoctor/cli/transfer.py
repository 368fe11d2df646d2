"""Progress of a copy on stderr: bytes, rate and what is left, for people only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from ..render.layout import size
from ..render.safe import clean, elide

_PATIENCE = 0.5
_OFTEN = 0.2
_BAR = 24
_CLEAR = "\r\x1b[2K"


class Transfer:
    """Called with (bytes done, bytes in all); inert unless stderr is a terminal. ``seconds``: how long it took."""

    def __init__(self, label: str, verb: str = "Writing") -> None:
        self._label = elide(clean(label), 24)
        self._verb = verb
        self._start = time.monotonic()
        self._next = self._start + _PATIENCE
        self._drawn = False
        self._wanted = sys.stderr.isatty()
        self.seconds = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are written."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + _OFTEN
        full = _BAR * min(done, total) // max(total, 1)
        rate = done / max(now - self._start, 0.001)
        left = (total - done) / max(rate, 1.0)
        bar = "━" * full + "─" * (_BAR - full)
        text = f"{self._verb} {self._label}  {bar} {size(done)} of {size(total)}  {size(int(rate))}/s"
        self._write(f"{_CLEAR}{text}  {int(left) // 60}:{int(left) % 60:02d} left")
        self._drawn = True

    def __enter__(self) -> Transfer:
        """Return itself; the bar is taken away when the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self.seconds = time.monotonic() - self._start
        if self._drawn:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()
