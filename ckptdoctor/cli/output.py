"""Where a page goes: the terminal as it is, a pipe, or a file replaced in one step."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from ..render import Page
from ..render.safe import clean, inert
from .streams import discard

if TYPE_CHECKING:
    from ..ruledata import Rulebook

PAPER = 100
"""Columns of a page that no terminal limits."""


class OutputError(click.ClickException):
    """Standard output cannot be written: what was found could not be told."""


def page_for(
    stream: TextIO | None,
    rulebook: Rulebook | None = None,
    *,
    verbose: bool = False,
    seconds: float | None = None,
) -> Page:
    """Return the page that suits ``stream`` (None stands for a file: no colour, every character).

    What is said of findings takes the words of ``rulebook``; a page without findings needs none.
    """
    encoding = "utf-8" if stream is None else (stream.encoding or "ascii")
    page = Page(
        width=_columns(stream),
        color=stream is not None and _color(stream),
        unicode=encoding.lower().replace("-", "").startswith("utf"),
        verbose=verbose,
        seconds=seconds,
    )
    return page if rulebook is None else page._replace(prose=rulebook.prose)


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


def deliver(text: str, path: str | None, *, color: bool = False, option: str = "--output") -> None:
    """Write as ``write`` does, to a file that ``option`` named. Raises UsageError where that file cannot be written."""
    try:
        write(text, path, color=color)
    except OSError as error:
        raise click.UsageError(f"{option} {clean(str(path))}: {error.strerror or error}") from error


def write(text: str, path: str | None, *, color: bool = False) -> None:
    """Write ``text`` to ``path``, else to stdout. Raises OSError where the file, OutputError where stdout fails."""
    if path is not None:
        _replace(Path(path).resolve(), text.encode("utf-8"))
        return
    try:
        click.echo(text, nl=False, color=color)  # it knows how to put ANSI colours on a Windows console
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head` has read enough; the verdict stands
        discard()
    except OSError as error:
        discard()
        raise OutputError(f"the output could not be written: {error.strerror or error}") from error


def say(text: str) -> None:
    """Tell something on stderr, in one line; where nothing can be told, nothing is."""
    with suppress(OSError):
        sys.stderr.write(inert(f"ckptdoctor: {clean(text)}\n"))


def here() -> Path | None:
    """Return the working directory, None when somebody deleted it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


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
