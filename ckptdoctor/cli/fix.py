"""``ckptdoctor fix``: what can be repaired, shown, proven on an overlay, and then written."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import ruledata
from ..render import plan as plan_page
from ..render.safe import clean
from . import accepted, inputs, recovering, repairing
from .exits import FINDINGS, NO_VERDICT, exit_code
from .output import OutputError, page_for, say, write

if TYPE_CHECKING:
    from ..fixing.plan import Plan

_FOR = "A loader as you run it, as for check. Default: the settings' targets, else as for check."
_UNSAFE = "Also repairs that rest on inference or change what a loader computes."


@click.command(
    no_args_is_help=True, short_help="Repair what can be repaired; shows it first, and undo takes it back."
)
@click.argument("checkpoint")
@click.option("--for", "targets", metavar="TARGET", multiple=True, help=_FOR)
@click.option("--unsafe", is_flag=True, help=_UNSAFE)
@click.option(
    "--rule", "rules", metavar="RULE", multiple=True, help="Repair only what this rule or family finds."
)
@click.option("--dry-run", is_flag=True, help="Show the plan and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Without it and without a terminal nothing is written.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--config", metavar="FILE", help="Settings file, as for check.")
def fix(
    checkpoint: str,
    targets: tuple[str, ...],
    unsafe: bool,
    rules: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    form: str,
    config: str | None,
) -> int:
    """Repair CHECKPOINT, a directory: shown as a diff, verified before anything is written, undone by `undo`.

    What an interrupted run left is shown first and rolled back when you agree. Exit codes: 0 no error is left ·
    1 errors are left, or would be repaired (--dry-run) · 2 bad usage · 3 no verdict, or it could not be done, and
    nothing was changed
    """
    from ..fixing.errors import FixError

    path = inputs.existing(checkpoint)
    if not Path(path).is_dir():
        raise click.UsageError(f"{clean(path)}: expected the directory of a checkpoint, got a file.")
    settings = accepted.settings(config, [path])
    rulebook = ruledata.load()
    wanted = inputs.targets(targets or settings.at(path).targets, rulebook)
    named = inputs.rules(rules, "--rule", rulebook)
    try:
        stream = sys.stdout if form == "text" else sys.stderr
        root = recovering.settled(path, stream, lambda question: may(yes, dry_run, question))
        if root is None:
            return NO_VERDICT
        recovering.tell_foreign(root)
        plan = repairing.planned(root, wanted, rulebook, unsafe=unsafe, rules=named)
        if form == "text":
            page = page_for(sys.stdout, rulebook)  # told before anything is done
            write(plan_page.text(plan, page, unsafe=unsafe), None, color=page.color)
        applied = repairing.done(plan) if plan.changes and may(yes, dry_run, "Apply?") else None
    except (FixError, OSError) as error:
        say(str(error))
        return NO_VERDICT
    _tell(plan, applied, form, dry_run)
    return FINDINGS if plan.changes and applied is None else exit_code([plan.after], ("error",))


def _tell(plan: Plan, applied: str | None, form: str, dry_run: bool) -> None:
    """Write what was done. Raises OutputError, which says too that a repair is done."""
    try:
        if form == "json":
            write(plan_page.as_json(plan, applied=applied), None)
        elif applied is not None:
            write(_done(plan), None)
        elif plan.changes and not dry_run:
            write("\nNothing was written; --yes does it.\n", None)
    except OutputError as error:
        done = "" if applied is None else f"; the repair {applied} is done, and undo takes it back"
        raise OutputError(error.message + done) from error


def may(yes: bool, dry_run: bool, question: str) -> bool:
    """Whether to write: told so beforehand, or asked where there is somebody to ask."""
    if yes or dry_run:
        return not dry_run
    return sys.stdin.isatty() and sys.stdout.isatty() and click.confirm(f"\n{question}", default=False)


def _done(plan: Plan) -> str:
    place, old = clean(plan.after.target), plan.before.target.rstrip("/")
    words = f"\n{len(plan.steps)} done. `ckptdoctor undo {place}` takes it back.\n"
    if place.rstrip("/") != clean(old):
        link = shlex.join(["ln", "-s", plan.after.target.rpartition("/")[2], old])
        words += f"What still uses the old name finds it after: {clean(link)}\n"
    return words
