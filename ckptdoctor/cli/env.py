"""``ckptdoctor env``: do the packages installed here go together, and if not, what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from ..render.safe import clean
from .exits import FINDINGS, NO_VERDICT, OK
from .output import page_for, write

_PATIENCE_S = 20
_PYTHON = "Another interpreter, virtual environment or site-packages directory to look at."


@click.command(short_help="Do the packages installed here go together?")
@click.option("--python", metavar="PATH", help=_PYTHON)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the report there instead of to the screen.")
@click.option("--verbose", is_flag=True, help="What each statement rests on, with links.")
def env(python: str | None, form: str, output: str | None, verbose: bool) -> int:
    """List torch, transformers, vLLM, Unsloth and what goes with them, and whether their versions fit.

    Versions are read from the names of installed distributions; nothing is imported. Exit codes: 0 they go together,
    1 they do not, 3 none of them is installed.
    """
    from .. import ruledata
    from ..environment import examine
    from ..remedy import remedy
    from ..render import environment as rendering
    from ..targets import distributions

    interpreter, paths = _place(python)
    rulebook = ruledata.load()
    found = distributions(rulebook, paths)
    judged = examine({package: version for package, (_, version) in found.items()}, rulebook)
    names = {package: name for package, (name, _) in found.items()}
    report = rendering.Installation(interpreter, judged, remedy(judged.packages, rulebook), names, rulebook)
    page = page_for(None if output is not None else sys.stdout, verbose=verbose)
    text = rendering.as_json(report) if form == "json" else rendering.as_text(report, page)
    try:
        write(text, output, color=page.color)
    except OSError as error:
        raise click.UsageError(f"--output {output}: {error.strerror or error}") from error
    if not judged.packages:
        return NO_VERDICT
    return FINDINGS if judged.problems else OK


def _place(python: str | None) -> tuple[str, list[str]]:
    """Return the interpreter ("" where only a directory is known) and the directories it imports from."""
    if python is None:
        return sys.executable, sys.path
    path = Path(python)
    if path.is_dir():
        inside = next(
            (p for p in (path / "bin" / "python", path / "Scripts" / "python.exe") if p.exists()), None
        )
        if inside is None:
            return "", [python]
        path = inside
    if not path.is_file():
        raise click.UsageError(f"--python {clean(python)}: expected an interpreter or a directory.")
    return str(path), _search_path(path)


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
