"""The command group, and the one place where exceptions become messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

import click

from .._version import __version__
from ..render.safe import clean
from .exits import DEBUG, INTERRUPTED, NO_VERDICT, USAGE

COMMANDS = ("check", "fix", "undo", "explain", "env", "rules", "hook")
"""Commands, in the order help lists them: each the function of that name in the module of that name here."""


class Commands(click.Group):
    """A group that imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command ``cmd_name``, None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", getattr(import_module(f".{cmd_name}", __package__), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but answer ``ckptdoctor ./model`` with the command that was meant."""
        if args and args[0] not in COMMANDS and Path(args[0]).exists():
            raise click.UsageError(f"No command given. Did you mean: ckptdoctor check {clean(args[0])}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def group() -> None:
    """Will this checkpoint load in transformers, vLLM and Unsloth, at which precision, and if not, why?

    Start with: ckptdoctor check ./model

    Exit codes: 0 sound · 1 findings · 2 bad usage · 3 no verdict, something could not be read
    """


def run(args: Sequence[str]) -> int:
    """Run the command line ``args``; every exception ends here as a message and an exit code."""
    try:
        code = group.main(list(args), prog_name="ckptdoctor", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\nckptdoctor: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit raises again
        return NO_VERDICT
    except Exception as error:  # nothing a checkpoint contains may show a user a traceback
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    from ..ruledata import RulebookError

    if DEBUG in os.environ:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, RulebookError):
        sys.stderr.write(f"ckptdoctor: {clean(str(error))}\n")
        return USAGE
    what = clean(f"{type(error).__name__}: {error}")
    hint = "please report this bug (CKPTDOCTOR_DEBUG=1 shows where it happened)"
    sys.stderr.write(f"ckptdoctor: internal error: {what}; {hint}\n")
    return NO_VERDICT
