"""``--python``: an interpreter, a virtual environment or a directory of packages, and what is installed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from ..render.safe import clean

_PATIENCE_S = 20


def place(python: str | None) -> tuple[str, list[str]]:
    """Return the interpreter ("" where only a directory is known) and the directories it imports from."""
    if python is None:
        return sys.executable, sys.path
    path = Path(python)
    if path.is_dir():
        inside = interpreter_in(path)
        if inside is None:
            return "", [python]
        path = inside
    if not path.is_file():
        raise click.UsageError(f"--python {clean(python)}: expected an interpreter or a directory.")
    return str(path), _search_path(path)


def interpreter_in(environment: Path) -> Path | None:
    """Return the interpreter of a virtual environment, None for what is none."""
    places = (environment / "bin" / "python", environment / "Scripts" / "python.exe")
    return next((path for path in places if path.exists()), None)


def _search_path(interpreter: Path) -> list[str]:
    """Ask an interpreter where it would import from; it imports nothing that is installed there."""
    # "-c" puts the working directory first, where nothing is installed.
    command = [str(interpreter), "-c", "import sys; print('\\n'.join(sys.path[1:]))"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE_S)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}"
        raise click.UsageError(
            f"--python {clean(str(interpreter))}: does not run as Python: {why}"
        ) from error
    return done.stdout.splitlines()
