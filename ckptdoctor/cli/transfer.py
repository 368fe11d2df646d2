"""Progress of a copy on stderr: bytes, rate and what is left, for people only."""

from __future__ import annotations

import time
from types import TracebackType

from ..render.layout import size
from ..render.safe import clean, elide
from .progress import Line, bar


class Transfer(Line):
    """Called with (bytes done, bytes in all). ``seconds``: how long it took, once the block is over."""

    def __init__(self, label: str, verb: str = "Writing") -> None:
        super().__init__()
        self._label = elide(clean(label), 24)
        self._verb = verb
        self.seconds = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are written."""
        if not self.due():
            return
        rate = done / max(time.monotonic() - self.begun, 0.001)
        left = int((total - done) / max(rate, 1.0))
        text = f"{self._verb} {self._label}  {bar(done, total)} {size(done)} of {size(total)}  {size(int(rate))}/s"
        self.draw(f"{text}  {left // 60}:{left % 60:02d} left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self.seconds = time.monotonic() - self.begun
        super().__exit__(kind, error, trace)
