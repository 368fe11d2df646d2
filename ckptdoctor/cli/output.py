"""Where a page goes: the terminal as it is, a pipe, or a file replaced in one step."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ..render import Page

PAPER = 100
"""Columns of a page that no terminal limits."""


def page_for(stream: TextIO | None, *, verbose: bool = False, seconds: float | None = None) -> Page:
    """Return the page that suits ``stream``; None stands for a file: no colour, every character."""
    encoding = "utf-8" if stream is None else (stream.encoding or "ascii")
    return Page(
        width=_columns(stream),
        color=stream is not None and _color(stream),
        unicode=encoding.lower().replace("-", "").startswith("utf"),
        verbose=verbose,
        seconds=seconds,
        prose=prose,
    )


def prose(rule: str) -> Mapping[str, object]:
    """Return the prose of a rule's card, empty for what is no rule."""
    from .. import ruledata

    try:
        return ruledata.cold(rule)
    except KeyError:
        return {}


def _color(stream: TextIO) -> bool:
    """Follow https://no-color.org and https://force-color.org, then ask whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO | None) -> int:
    stated = os.environ.get("COLUMNS", "")
    if stated.isascii() and stated.isdigit() and int(stated):
        return max(int(stated), 40)
    try:
        return max(os.get_terminal_size(stream.fileno()).columns, 40) if stream else PAPER
    except (OSError, ValueError):
        return PAPER


def write(text: str, path: str | None, *, color: bool = False) -> None:
    """Write ``text`` to ``path``, or to stdout. Raises OSError when the file cannot be written."""
    if path is not None:
        _replace(Path(path).resolve(), text.encode("utf-8"))
        return
    import click  # knows how to put ANSI colours on a Windows console

    try:
        click.echo(text, nl=False, color=color)
        sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # `… | head` has read enough; the verdict stands. Without this the exit flush raises
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace(path: Path, data: bytes) -> None:
    """Write a sibling and move it into place, so that no reader sees half a report."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o7777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
