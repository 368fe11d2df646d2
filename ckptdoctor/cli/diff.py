"""``ckptdoctor diff``: what two checkpoints do not have in common."""

from __future__ import annotations

import sys

import click

from .. import ruledata
from ..render import diff as page_of
from ..render.safe import clean
from . import inputs
from .exits import FINDINGS, NO_VERDICT, OK
from .output import page_for, say, write


@click.command(no_args_is_help=True, short_help="What one checkpoint is of another, and where they differ.")
@click.argument("a")
@click.argument("b")
@click.option("--hash", "values", is_flag=True, help="Compare the values of tensors too, byte by byte.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def diff(a: str, b: str, values: bool, form: str) -> int:
    """Compare checkpoint A with checkpoint B: tensors, schemes, config, tokenizer, template, other files.

    Exit codes: 0 the same, however cut into files · 1 they differ · 2 bad usage · 3 one of them cannot be read
    """
    from ..checkpoint import load
    from ..comparing.compare import compared
    from ..resaving.nouns import ResaveError
    from ..sources import open_source
    from .transfer import Transfer

    paths = [inputs.existing(path) for path in (a, b)]
    rulebook = ruledata.load()
    try:
        left, right = (load(open_source(path), rulebook) for path in paths)
        with Transfer(clean(b), "Comparing") as transfer:
            found = compared(left, right, transfer if values else None)
    except (ResaveError, OSError) as error:
        say(str(error))
        return NO_VERDICT
    if form == "json":
        write(page_of.as_json(found), None)
    else:
        page = page_for(sys.stdout, rulebook)
        write(page_of.text(found, page), None, color=page.color)
    return OK if found.same else FINDINGS
