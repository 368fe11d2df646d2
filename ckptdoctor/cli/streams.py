"""The three standard streams as they may be: closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys

INTERRUPTED, NOT_WRITTEN = 130, 3
"""Exit codes: stopped by Ctrl-C; what there was to say could not be written."""


def tell(text: str) -> None:
    """Say something on stderr before anything that says it better is imported."""
    try:
        sys.stderr.write(f"ckptdoctor: {text}\n")
    except OSError:  # nobody can be told
        return


def unwritten(error: OSError, code: int) -> int:
    """Say that stdout failed with ``error``, and return the exit code, which else were ``code``."""
    discard()
    if isinstance(error, BrokenPipeError):  # `ckptdoctor check … | head` has read enough; the verdict stands
        return code
    tell(f"the output could not be written: {error.strerror}")
    return NOT_WRITTEN


def discard() -> None:
    """Let what is still to be written to stdout go nowhere, or the next flush fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_all() -> None:
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
