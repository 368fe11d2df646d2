"""``ckptdoctor check``: will this checkpoint load, at which precision, and if not, what to change."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import click

from ..model import BytesRead, Crash, Report, Target
from ..render import FORMATS, render
from . import inputs
from .exits import DEBUG, exit_code
from .output import page_for, write
from .progress import Progress

_Look: TypeAlias = Callable[[str], Report]

_FOR = (
    "A loader as you run it: vllm, vllm==0.32.0 or unsloth==2025.3.10,unsloth_zoo==2025.3.9. "
    "Default: transformers, vLLM and Unsloth as installed here, else their newest known versions."
)


@click.command(
    no_args_is_help=True, short_help="Will a checkpoint load, at which precision, and if not, why?"
)
@click.argument("checkpoints", metavar="CHECKPOINT...", nargs=-1, required=True)
@click.option("--for", "for_", metavar="TARGET", multiple=True, help=_FOR)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the report there instead of to the screen.")
@click.option("--select", metavar="RULE", multiple=True, help="Run only this rule or family (bnb/).")
@click.option("--ignore", metavar="RULE", multiple=True, help="Leave this rule or family out.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@click.option("--metadata-only", is_flag=True, help="Absent weights and LFS pointers are not findings.")
@click.option("--verbose", is_flag=True, help="Every place, every skip, and what the knowledge rests on.")
def check(
    checkpoints: tuple[str, ...],
    for_: tuple[str, ...],
    form: str,
    output: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str,
    metadata_only: bool,
    verbose: bool,
) -> int:
    """Check whether a checkpoint will load, at which precision, and if not, what to change.

    CHECKPOINT is a directory, a .safetensors file, or a directory with several checkpoints below it. Only
    headers and JSON are read, never the weights.
    """
    begun = time.perf_counter()
    paths = [inputs.existing(path) for path in checkpoints]
    if output is not None and not Path(output).parent.is_dir():
        raise click.UsageError(f"--output {output}: there is no such directory.")
    targets = inputs.targets(for_)
    chosen = inputs.rules(select, "--select"), inputs.rules(ignore, "--ignore")
    reports, below = _check_all(paths, _looker(targets, metadata_only, *chosen))
    stream = None if output is not None else sys.stdout
    page = page_for(stream, verbose=verbose, seconds=time.perf_counter() - begun)._replace(below=below)
    try:
        write(render(form, reports, page), output, color=page.color)
    except OSError as error:
        raise click.UsageError(f"--output {output}: {error.strerror or error}") from error
    return exit_code(reports, fail_on)


def _looker(
    targets: Sequence[Target], metadata_only: bool, select: Sequence[str], ignore: Sequence[str]
) -> _Look:
    """Return what turns one path into its report, be it that the path cannot be read."""
    from ..engine import check_source
    from ..ruledata import RulebookError
    from ..sources import open_source

    def look(path: str) -> Report:
        try:
            with Progress(Path(path).name) as progress:
                return check_source(
                    open_source(path),
                    targets,
                    metadata_only=metadata_only,
                    progress=progress,
                    select=select,
                    ignore=ignore,
                )
        except OSError as error:
            return _unchecked(path, f"cannot be read: {error.strerror or error}")
        except (
            Exception
        ) as error:  # ours to answer for, and no reason to keep quiet about the other checkpoints
            if isinstance(error, RulebookError) or DEBUG in os.environ:
                raise
            return _unchecked(path, "")._replace(
                crashes=(Crash("engine", f"{type(error).__name__}: {error}"),)
            )

    return look


def _check_all(paths: Sequence[str], look: _Look) -> tuple[list[Report], str]:
    """Return a report per checkpoint, and the directory they lie below when one path stood for several."""
    from ..sources.discover import checkpoints_below

    reports: list[Report] = []
    below = ""
    for path in paths:
        try:
            places = checkpoints_below(path) if Path(path).is_dir() else [Path(path)]
        except OSError as error:
            reports.append(_unchecked(path, f"cannot be read: {error.strerror or error}"))
            continue
        # A name rule looks at the path as it was typed, which Path would tidy up.
        found = [path] if places == [Path(path)] else [str(place) for place in places]
        if not found:
            reports.append(_unchecked(path, "no safetensors file, shard index or config here or below"))
        elif len(found) > 1 and len(paths) == 1:
            below = path
        reports += [look(one) for one in found]
    return reports, below


def _unchecked(path: str, why: str) -> Report:
    return Report(path, (), (), (), (), (), BytesRead(), nothing=why)
