"""The command line: the only place that prints or exits. ``main`` is the console script."""

from __future__ import annotations

import os
import sys

from .interrupts import heard, once
from .streams import INTERRUPTED, NOT_WRITTEN, open_all, tell, unwritten


def script() -> None:
    """Run the command line as a program of its own: the console script and ``python -m ckptdoctor``.

    However it ends, it ends with a line at most and never with a traceback. The process ends without freeing a hundred
    thousand tensors one by one, which would take a tenth of the whole run (mypy ends the same way).
    """
    code = NOT_WRITTEN
    try:
        try:
            heard()
            open_all()
            code = main(shared=False)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = _interrupted()
        except OSError as error:
            code = unwritten(error, code)
    except KeyboardInterrupt:  # between the end and the exit; of several, `interrupts` lets only one through
        code = INTERRUPTED
    os._exit(code)


def main(argv: list[str] | None = None, *, shared: bool = True) -> int:
    """Run the command line and return its exit code (0, 1, 2, 3, or 130 when interrupted).

    ``shared``: the process is not ours alone, so its handling of signals stays as it is.
    """
    args = sys.argv[1:] if argv is None else argv
    if args[:1] == ["--version"]:  # answered before anything is imported: 1 ms instead of 50
        from .._version import __version__

        sys.stdout.write(f"ckptdoctor {__version__}\n")
        return 0
    try:
        if not shared:
            once()
        from .app import run

        return run(args)
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    tell("interrupted")
    return INTERRUPTED
