"""What ``fix`` and the hook share: plan and commit."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import ruledata
from ..fixing.changes import Rename
from ..fixing.commit import commit
from ..fixing.errors import FixError
from ..fixing.plan import Plan, Planner
from ..model import Target
from ..ruledata import Rulebook
from ..sources import open_source
from . import accepted, inputs, recovering
from .checking import Options
from .output import say


def planned(
    path: str,
    targets: Sequence[Target],
    rulebook: Rulebook,
    *,
    unsafe: bool = False,
    rules: Sequence[str] = (),
) -> Plan:
    """Return the plan for the directory ``path``.

    Raises FixError or OSError when there is nothing to look at or it cannot be read.
    """
    plan = Planner(open_source(path), targets, rulebook, unsafe=unsafe, rules=rules).plan()
    if plan.before.nothing:
        raise FixError(f"{path}: {plan.before.nothing}")
    return plan


def done(plan: Plan) -> str:
    """Write the plan to disk and return the journal's number for it. Raises FixError with nothing changed."""
    title = ", ".join(dict.fromkeys(step.finding.rule for step in plan.steps))
    return commit(plan.before.target, plan.changes, title).id


def all_safe(paths: Sequence[str], options: Options) -> bool:
    """Make the safe repairs in every checkpoint of ``paths``, directories kept by their names; say what was done."""
    settings = accepted.settings(options.config, paths)
    rulebook = ruledata.load()
    rules = inputs.rules(options.select, "--select", rulebook)
    repaired = False
    for path in paths:
        targets = inputs.targets(options.targets or settings.at(path).targets, rulebook)
        try:
            root = recovering.settled(path, sys.stderr, lambda question: True) or path
            recovering.tell_foreign(root)
            plan = planned(root, targets, rulebook, rules=rules)
            if not plan.changes or any(isinstance(change, Rename) for change in plan.changes):
                continue
            number = done(plan)
        except (FixError, OSError) as error:
            say(str(error))
            continue
        repaired = True
        titles = ", ".join(dict.fromkeys(step.finding.rule for step in plan.steps))
        say(f"repaired {path} ({titles}); `ckptdoctor undo {path} {number}` takes it back")
    return repaired
