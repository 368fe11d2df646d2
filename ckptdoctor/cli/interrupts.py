"""Ctrl-C in a process of our own: it interrupts once, and the way out is not interrupted again.

Nothing but ``os`` and ``sys`` is imported here before `heard` has done its work: what a Ctrl-C raises in the callback
by which an import lets go of its lock (``_get_module_lock`` of importlib), Python prints and forgets.
"""

from __future__ import annotations

import os
import sys

from .streams import INTERRUPTED

TYPE_CHECKING = False  # `typing` is not imported yet
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

_PATIENCE = 3
"""So many Ctrl-C end a process that does not find its way out, as a kill would: what `fix` writes survives it."""


def heard() -> None:
    """End the process at a Ctrl-C that Python would swallow: the first thing to do, before anything is imported."""
    sys.unraisablehook = _unraisable


def once() -> None:
    """Raise KeyboardInterrupt at the first SIGINT only."""
    import signal

    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise KeyboardInterrupt
        if seen >= _PATIENCE:
            _end()

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as nohup and `&` in a script want it
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
