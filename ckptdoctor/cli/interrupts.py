"""Ctrl-C in a process of our own: it interrupts once, and the way out is not interrupted again."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from . import INTERRUPTED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_PATIENCE = 3
"""So many Ctrl-C end a process that does not find its way out, as a kill would: what `fix` writes survives it."""


def once() -> None:
    """Raise KeyboardInterrupt at the first SIGINT only; end at once where Python would swallow it."""
    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise KeyboardInterrupt
        if seen >= _PATIENCE:
            _end()

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as nohup and `&` in a script want it
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGINT, handle)


def _unraisable(what: UnraisableHookArgs) -> None:
    """Python prints and forgets what is raised while it frees something; an interrupt is meant for the process."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        _end()
    sys.__unraisablehook__(what)


def _end() -> None:
    try:
        os.write(2, b"ckptdoctor: interrupted\n")
    finally:
        os._exit(INTERRUPTED)
