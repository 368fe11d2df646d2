"""The command group, and the one place where exceptions become messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import cast

import click

from .._version import __version__
from ..render.safe import clean, message
from .exits import DEBUG, NO_VERDICT, OK, USAGE
from .output import OutputError, here, say
from .streams import unwritten

_UNWRITTEN = (errno.EBADF, errno.ENOSPC)
_NAME, _COMPLETE = "ckptdoctor", "_CKPTDOCTOR_COMPLETE"

COMMANDS = ("check", "fix", "undo", "resave", "diff", "fit", "load", "explain", "env", "rules", "hook")
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
    """Run the command line ``args``; every exception but KeyboardInterrupt ends here as a message and an exit code."""
    try:
        return _invoke(list(args))
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort as error:  # click's word for a question that was answered with Ctrl-C
        raise KeyboardInterrupt from error
    except OutputError as error:
        say(error.message)
        return NO_VERDICT
    except click.ClickException as error:
        page = StringIO()
        error.show(file=page)
        with suppress(OSError):
            sys.stderr.write(message(page.getvalue()))
        return USAGE
    except BrokenPipeError as error:
        return unwritten(error, NO_VERDICT)
    except Exception as error:  # nothing a checkpoint contains may show a user a traceback
        return _unexpected(error)


def _invoke(args: list[str]) -> int:
    """Do as ``Group.main`` does, which answers a broken pipe with our code for findings."""
    if _COMPLETE in os.environ:
        group.main(args, prog_name=_NAME, standalone_mode=False)
        return OK
    with group.make_context(_NAME, args) as context:
        code = group.invoke(context)
    return code if isinstance(code, int) else OK


def _unexpected(error: Exception) -> int:
    from ..ruledata import RulebookError

    if DEBUG in os.environ:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, RulebookError):
        say(str(error))
        return USAGE
    if (
        isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITTEN
    ):  # click's own pages
        return unwritten(error, NO_VERDICT)
    if isinstance(error, FileNotFoundError) and here() is None:
        say("the working directory is gone; change to one that is there")
        return NO_VERDICT
    what = f"{type(error).__name__}: {error}"
    say(f"internal error: {what}; please report this bug ({DEBUG}=1 shows where it happened)")
    return NO_VERDICT
