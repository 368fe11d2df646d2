"""``ckptdoctor load --compare``: a checkpoint beside the one that it was made from."""

from __future__ import annotations

import sys
from typing import NamedTuple

import click

from ..probe.process import Failed, Limits
from ..ruledata import Rulebook
from .exits import FINDINGS, NO_VERDICT, OK
from .loading import Stages
from .loading import target as installed
from .output import deliver, page_for, say


class Asked(NamedTuple):
    """What the options ask for."""

    checkpoint: str
    """As the user typed it."""
    reference: str
    target: str | None
    python: str | None
    limits: Limits
    timeout_s: float
    form: str
    output: str | None
    plot: str | None


def compare(asked: Asked, checkpoint: str, reference: str, rulebook: Rulebook) -> int:
    """Compare the checkpoint with the reference, both absolute paths, and say so; return the exit code."""
    from ..probe import comparing
    from ..render import compared as rendering

    target, interpreter = installed(asked.target or comparing.READER, asked.python, rulebook, adapter=False)
    if target.loader != comparing.READER:
        raise click.UsageError(f"--compare runs both in {comparing.READER}: leave --for out, or name that.")
    try:
        with Stages() as progress:
            found = comparing.compare(
                checkpoint,
                reference,
                interpreter,
                limits=asked.limits,
                timeout_s=asked.timeout_s,
                tell=progress,
            )
    except (Failed, comparing.NotComparable) as error:
        say(f"{asked.checkpoint} and {asked.reference} could not be compared: {error}")
        return NO_VERDICT
    word, reason = comparing.judged(found)
    device = asked.limits.device if asked.limits.device != "auto" else found.device
    told = rendering.Comparison(asked.checkpoint, asked.reference, target.label, device, found, word, reason)
    page = page_for(None if asked.output is not None else sys.stdout, rulebook)
    text = rendering.as_json(told) if asked.form == "json" else rendering.as_text(told, page)
    if asked.plot is not None:
        deliver(rendering.as_svg(told), asked.plot, option="--plot")
    deliver(text, asked.output, color=page.color)
    return OK if word == "alike" else FINDINGS
