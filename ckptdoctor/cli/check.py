"""``ckptdoctor check``: will this checkpoint load, at which precision, and if not, what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..render import FORMATS
from ..settings import FAIL_ON
from . import checking, inputs

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FOR = (
    "A loader as you run it: vllm, vllm==0.32.0 or unsloth==2025.3.10,unsloth_zoo==2025.3.9; "
    "or a range of releases: 'vllm==*', 'vllm>=0.27'. "
    "Default: transformers, vLLM and Unsloth as installed here, else their newest known versions."
)
_CHANGED = "Show only what differs between the versions of a loader: what breaks when I upgrade?"
_CONFIG = (
    "Settings file. Default: ckptdoctor.toml or [tool.ckptdoctor] of pyproject.toml, here or above, "
    "but then without its rules and plug-ins."
)
_BASE = (
    "The model (here or on the Hub) that an adapter is to be put on; only its config and headers are read."
)
_FAIL_ON = (
    "Exit with 1 from this severity on (default error), or where a loader that is named or installed "
    "has no verdict (unknown). May be given twice."
)

_OPTIONS = (
    click.option("--for", "targets", metavar="TARGET", multiple=True, help=_FOR),
    click.option("--changed-only", is_flag=True, help=_CHANGED),
    click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True),
    click.option("--output", metavar="FILE", help="Write the report there instead of to the screen."),
    click.option("--select", metavar="RULE", multiple=True, help="Run only this rule or family (bnb/)."),
    click.option("--ignore", metavar="RULE", multiple=True, help="Leave this rule or family out."),
    click.option("--fail-on", type=click.Choice(FAIL_ON), multiple=True, help=_FAIL_ON),
    click.option("--metadata-only", is_flag=True, help="Absent weights and LFS pointers are not findings."),
    click.option("--verbose", is_flag=True, help="Every place, every skip, and what the knowledge rests on."),
    click.option("--config", metavar="FILE", help=_CONFIG),
    click.option("--baseline", metavar="FILE", help="Report only what this file does not hold yet."),
)


def options(command: _Command) -> _Command:
    """Give ``command`` the options that say how to check."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(
    no_args_is_help=True, short_help="Will a checkpoint load, at which precision, and if not, why?"
)
@click.argument("checkpoints", metavar="CHECKPOINT...", nargs=-1, required=True)
@options
@click.option("--write-baseline", metavar="FILE", help="Accept what is found now, and exit with 0.")
@click.option("--base", metavar="MODEL", help=_BASE)
def check(checkpoints: tuple[str, ...], **given: Any) -> int:
    """Check whether a checkpoint will load, at which precision, and if not, what to change.

    CHECKPOINT is a directory, a .safetensors file, a directory with several checkpoints below it, or a
    model on the Hub: org/name, org/name@revision, hf://name or its page. Only headers and JSON are read (of
    the Hub: fetched), never the weights.
    """
    return checking.run([inputs.checkpoint(path) for path in checkpoints], checking.Options(**given))
