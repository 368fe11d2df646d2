"""``ckptdoctor fix``: what can be repaired, shown, proven on an overlay, and then written."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from ..model import Report
from ..render import plan as plan_page
from ..render.safe import clean
from . import accepted, inputs, repairing
from .exits import FINDINGS, NO_VERDICT, OK
from .output import page_for

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

    Exit codes: 0 no error is left · 1 errors are left, or would be repaired (--dry-run) · 2 bad usage · 3 it could
    not be done, and nothing was changed
    """
    from ..fixing.errors import FixError

    path = inputs.existing(checkpoint)
    if not Path(path).is_dir():
        raise click.UsageError(f"{clean(path)}: expected the directory of a checkpoint, got a file.")
    settings = accepted.settings(config, [path])
    wanted = inputs.targets(targets or settings.at(path).targets)
    named = inputs.rules(rules, "--rule")
    try:
        plan = repairing.planned(path, wanted, writes=yes and not dry_run, unsafe=unsafe, rules=named)
        if form == "text":
            page = page_for(sys.stdout)
            sys.stdout.write(plan_page.text(plan, page, unsafe=unsafe))
        applied = None
        if plan.changes and not dry_run and (yes or _agreed()):
            applied = repairing.done(plan)
    except (FixError, OSError) as error:
        sys.stderr.write(f"ckptdoctor: {clean(str(error))}\n")
        return NO_VERDICT
    if form == "json":
        sys.stdout.write(plan_page.as_json(plan, applied=applied))
    elif applied is not None:
        place = clean(plan.after.target)
        sys.stdout.write(f"\n{len(plan.steps)} done. `ckptdoctor undo {place}` takes it back.\n")
        old = plan.before.target.rstrip("/")
        if place.rstrip("/") != clean(old):
            link = shlex.join(["ln", "-s", plan.after.target.rpartition("/")[2], old])
            sys.stdout.write(f"What still uses the old name finds it after: {clean(link)}\n")
    elif plan.changes and not dry_run:
        sys.stdout.write("\nNothing was written; --yes does it.\n")
    if plan.changes and applied is None:
        return FINDINGS
    return FINDINGS if _errors(plan.after) else OK


def _agreed() -> bool:
    """Ask, where there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty() and click.confirm("\nApply?", default=False)


def _errors(report: Report) -> bool:
    return any(finding.severity == "error" for finding in report.findings)
