"""``ckptdoctor fit``: how much memory a checkpoint takes, whether it fits on a GPU and with how much context."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..render.safe import clean
from . import inputs
from .exits import FINDINGS, NO_VERDICT, OK
from .output import deliver, page_for

if TYPE_CHECKING:
    from ..memory.fitting import Demand
    from ..memory.gpus import Gpu
    from ..model import Target
    from ..render.fit import Answer
    from ..ruledata import Rulebook

_FOR = "A loader as you run it: vllm, vllm==0.32.0. Default: the server installed here, else its newest known version."
_KV = "Type of the numbers in the cache: auto, bfloat16, float16, fp8, fp8_e4m3, fp8_e5m2."


@click.command(no_args_is_help=True, short_help="How much memory does it take, and does it fit?")
@click.argument("checkpoint")
@click.option("--for", "target", metavar="TARGET", help=_FOR)
@click.option("--gpu", metavar="NAME|SIZE", help="H100, L40S, A100-40GB … or a size such as 24GB.")
@click.option(
    "--tp", type=click.IntRange(1, 64), help="Devices that share every layer (tensor-parallel size)."
)
@click.option(
    "--context", type=click.IntRange(1, 1 << 27), help="Tokens of a sequence. Default: the model's own."
)
@click.option(
    "--batch", type=click.IntRange(1, 1 << 20), default=1, show_default=True, help="Sequences at once."
)
@click.option("--kv-dtype", metavar="TYPE", default="auto", show_default=True, help=_KV)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the answer there instead of to the screen.")
def fit(
    checkpoint: str,
    target: str | None,
    gpu: str | None,
    tp: int | None,
    context: int | None,
    batch: int,
    kv_dtype: str,
    form: str,
    output: str | None,
) -> int:
    """Predict the memory of weights and cache from headers and config.json, and compare it with a GPU.

    Weights and cache are computed tensor by tensor and layer by layer; the rest is rough and called so. Exit codes:
    0 it fits, or no GPU was named; 1 it does not fit, or does not load at all; 3 something that decides is not known.
    """
    from .. import ruledata
    from ..memory.cache import AUTO, WIDTHS
    from ..memory.fitting import Demand
    from ..render import fit as rendering

    if kv_dtype not in (AUTO, *WIDTHS):
        raise click.UsageError(f"--kv-dtype {clean(kv_dtype)}: expected one of {', '.join((AUTO, *WIDTHS))}")
    rulebook = ruledata.load()
    demand = Demand(context, batch, kv_dtype, _gpu(gpu, rulebook) if gpu is not None else None)
    answer = _answer(inputs.existing(checkpoint), _target(target, tp, rulebook), demand, rulebook)
    page = page_for(None if output is not None else sys.stdout)
    text = rendering.as_json(answer) if form == "json" else rendering.as_text(answer, page)
    deliver(text, output, color=page.color)
    return _code(answer)


def _gpu(text: str, rulebook: Rulebook) -> Gpu:
    from ..memory.gpus import UnknownGpu, gpu

    try:
        return gpu(text, rulebook)
    except UnknownGpu as error:
        raise click.UsageError(f"--gpu {clean(text)}: no such GPU; {error}") from error


def _target(text: str | None, tp: int | None, rulebook: Rulebook) -> Target:
    """Return the one target, with its number of devices."""
    from ..memory.serving import serves

    found = inputs.targets([text] if text else [], rulebook)
    if not text:
        found = tuple(item for item in found if serves(rulebook.loaders[item.loader]))[:1]
    if len(found) != 1:
        raise click.UsageError(f"--for {clean(text or '')}: expected one version of one loader.")
    (target,) = found
    if tp is None:
        return target
    if not serves(rulebook.loaders[target.loader]):
        raise click.UsageError(f"--tp {tp}: {target.loader} does not split a model over devices.")
    return target._replace(options={**target.options, "tp": tp})


def _answer(path: str, target: Target, demand: Demand, rulebook: Rulebook) -> Answer:
    """Read the checkpoint once, judge it and reckon."""
    from ..engine import examine
    from ..memory.asking import ask
    from ..memory.fitting import fit as reckoned
    from ..memory.fitting import own_context, text_config
    from ..memory.serving import command, serves
    from ..render.fit import Answer
    from ..sources import open_source

    try:
        ckpt, reading = ask(open_source(path), target, rulebook)
    except OSError as error:
        raise click.UsageError(f"{clean(path)}: cannot be read: {error.strerror or error}") from error
    report = examine(ckpt, [target], rulebook.cards)
    found = reckoned(ckpt, reading, demand)
    own = own_context(text_config(ckpt.config))
    served = serves(rulebook.loaders[target.loader]) and reading.loaded_as
    words = command(path, target, found, own) if served else ()
    return Answer(path, found, report.verdicts[0], words, own, rulebook.digest, report.nothing)


def _code(answer: Answer) -> int:
    found = answer.found
    if answer.nothing:
        return NO_VERDICT
    if answer.verdict.outcome in ("fails", "fails-late") or found.fits is False:
        return FINDINGS
    if found.weights.total is None or (found.demand.gpu is not None and found.fits is None):
        return NO_VERDICT
    return OK
