"""The command line: the only place that prints or exits. ``main`` is the console script."""

from __future__ import annotations

import os
import sys

INTERRUPTED, NOT_WRITTEN = 130, 3
"""Exit codes: stopped by Ctrl-C; what there was to say could not be written."""


def script() -> None:
    """Run the command line as a program of its own: the console script and ``python -m ckptdoctor``.

    However it ends, it ends with a line at most and never with a traceback. The process ends without freeing a hundred
    thousand tensors one by one, which would take a tenth of the whole run (mypy ends the same way).
    """
    code = NOT_WRITTEN
    try:
        try:
            _open_streams()
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
            from .interrupts import once

            once()
        from .app import run

        return run(args)
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    _tell("interrupted")
    return INTERRUPTED


def _tell(text: str) -> None:
    try:
        sys.stderr.write(f"ckptdoctor: {text}\n")
    except OSError:  # nobody can be told
        return


def unwritten(error: OSError, code: int) -> int:
    """Say that stdout failed with ``error``, and return the exit code, which else were ``code``."""
    discard()
    if isinstance(error, BrokenPipeError):  # `ckptdoctor check … | head` has read enough; the verdict stands
        return code
    _tell(f"the output could not be written: {error.strerror}")
    return NOT_WRITTEN


def discard() -> None:
    """Let what is still to be written to stdout go nowhere, or the next flush fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Take the places of standard streams that are closed (``>&-``), and survive characters that one cannot take.

    Else the next file that is opened, maybe a shard, would be the standard output. What is written to a closed stdout
    fails, as for any program; messages to a closed stderr are lost.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
            if place != number:
                os.dup2(place, number)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
