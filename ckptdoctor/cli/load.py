"""``ckptdoctor load``: a real test load, and whether the check had predicted it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..model.words import amount
from ..render.safe import clean
from . import inputs
from .exits import FINDINGS, NO_VERDICT, OK
from .output import deliver, here, page_for, say

if TYPE_CHECKING:
    from ..probe.loading import Result
    from ..ruledata import Rulebook

_FOR = "vllm, transformers or peft, with versions if the environment is to have just these: vllm==0.32.0."
_PYTHON = "The interpreter, or virtual environment, that has the loader. Default: the one ckptdoctor runs in."
_STAGE = "How far: build the model without its weights, load the weights, or run it once as well."
_RECIPE = (
    "Where the check was wrong: write the smallest checkpoint with random values that shows it, for a report."
)
_COMPARE = (
    "Run both on the same text in transformers and say how far they are apart: the 16-bit checkpoint, say, that "
    "CHECKPOINT was quantised from. Exit 1 where they are not alike."
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_GB = 1e9


@click.command(no_args_is_help=True, short_help="Prove it: load the checkpoint for real and compare.")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--for", "target", metavar="TARGET", help=_FOR)
@click.option("--python", metavar="PATH", help=_PYTHON)
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", show_default=True)
@click.option(
    "--stage",
    type=click.Choice(["build", "weights", "generate"]),
    default="generate",
    show_default=True,
    help=_STAGE,
)
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(1),
    default=900.0,
    show_default=True,
    help="Seconds, import included.",
)
@click.option("--memory", metavar="GB", type=click.FloatRange(0.1), help="End the load when it takes more.")
@click.option("--base", metavar="DIR", help="The model that an adapter is to be put on.")
@click.option("--recipe", metavar="OUT", help=_RECIPE)
@click.option("--compare", "reference", metavar="REFERENCE", help=_COMPARE)
@click.option("--plot", metavar="FILE.svg", help="With --compare: draw the divergence at every token.")
@click.option("--trust-remote-code", is_flag=True, help="Let the loader run code that the checkpoint brings.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the report there instead of to the screen.")
def load(
    checkpoint: str,
    target: str | None,
    python: str | None,
    device: str,
    stage: str,
    timeout: float,
    memory: float | None,
    base: str | None,
    recipe: str | None,
    reference: str | None,
    plot: str | None,
    trust_remote_code: bool,
    form: str,
    output: str | None,
) -> int:
    """Load CHECKPOINT for real, in a process of its own, and say whether `check` had predicted what happened.

    The loader is the one installed beside --python; only it is needed there. Every parameter is accounted for: read
    from the file, with its values, at its precision. No network, no code of the checkpoint, nothing written into it.

    Exit codes: 0 ok as predicted · 1 it fails, is corrupt or at another precision, or not as predicted · 2 bad usage
    · 3 no verdict: the environment lacks something, or no answer in time
    """
    from ..probe.loading import Wanted
    from ..probe.loading import load as test_load
    from ..probe.process import Limits
    from ..probe.reporting import report
    from ..render import loaded
    from ..ruledata import load as load_rulebook
    from .loading import Stages, new_directory, together
    from .loading import target as installed

    cut = stage if stage != "generate" else None
    alone = {"--base": base, "--recipe": recipe, "--stage": cut, "--trust-remote-code": trust_remote_code}
    together(reference, plot, alone)
    path = _directory(checkpoint)
    onto = _base(path, base)
    if recipe is not None:
        new_directory(recipe, "--recipe")
    rulebook = load_rulebook()
    limits = Limits(device, int((memory or 0) * _GB))
    if reference is not None:
        from .comparing import Asked, compare

        asked = Asked(checkpoint, reference, target, python, limits, timeout, form, output, plot)
        return compare(asked, path, _directory(reference), rulebook)
    chosen, interpreter = installed(target, python, rulebook, adapter=onto is not None)
    wanted = Wanted(path, chosen, interpreter, onto, stage, timeout, limits, trust_remote_code)
    with Stages() as progress:
        result = test_load(wanted, rulebook, progress)
    page = page_for(None if output is not None else sys.stdout, rulebook)._replace(base=str(here() or ""))
    text = loaded.as_json(result) if form == "json" else loaded.as_text(result, page)
    deliver(text, output, color=page.color)
    if result.agrees is False:
        say("the check was wrong here. Please report it; this has no path and no token in it:")
        click.echo(report(result), err=True)
    if recipe is not None:
        _recipe(result, recipe, rulebook)
    return exit_code(result)


def _recipe(result: Result, recipe: str, rulebook: Rulebook) -> None:
    """Write a small checkpoint that goes wrong in the same way, and say what came of it."""
    from ..probe.loading import load as test_load
    from ..probe.recipe import smallest

    if result.agrees is not False:
        say("the check was not wrong here: no recipe is written")
        return

    def shows(place: Path) -> bool:
        again = test_load(result.wanted._replace(checkpoint=str(place.absolute())), rulebook)
        if again.log is not None:
            Path(again.log).unlink(missing_ok=True)
        same = again.judged.outcome == result.judged.outcome
        return same and again.predicted.outcome == result.predicted.outcome

    cut = smallest(Path(result.wanted.checkpoint), Path(recipe), shows)
    if cut is None:
        say("no checkpoint with random values shows it: its values matter, or a file cannot be parsed")
        return
    left = amount(cut.layers, "layer") if cut.layers else "every layer"
    say(
        f"{recipe}: {left}{', a vocabulary of 64' if cut.vocabulary else ''}, random values; it shows the same"
    )


def exit_code(result: Result) -> int:
    """Return the exit code of a load."""
    if result.failure is not None or result.judged.outcome == "unknown" or result.changed:
        return NO_VERDICT
    good = result.judged.outcome == "ok" and result.agrees is not False
    return OK if good and result.predicted.outcome in ("ok", "unknown") else FINDINGS


def _directory(checkpoint: str) -> str:
    """Return the absolute path of a directory that a loader can be given, as it is spelled: its name may decide."""
    place = Path(inputs.existing(checkpoint))
    if not place.is_dir():
        raise click.UsageError(f"{clean(checkpoint)}: expected a directory, as the loader is given it.")
    names = [entry.name for entry in place.iterdir()]
    if not any(name.endswith(".safetensors") for name in names):
        pickles = [name for name in names if name.endswith(_PICKLES)]
        if pickles:
            raise click.UsageError(
                f"{clean(checkpoint)}: its weights are pickle files ({clean(pickles[0])}), which may run code; "
                "only safetensors files are loaded."
            )
    if not {"config.json", "adapter_config.json"}.intersection(names):
        say(f"{checkpoint}: no config.json here; the loader will have its say")
    return str(place.absolute())


def _base(path: str, base: str | None) -> str | None:
    """Return the model that an adapter is put on: the one named, else the one its config names if it is here."""
    if base is not None:
        inputs.base(base)
        return str(Path(base).absolute())
    if not inputs.is_adapter(path):
        return None
    raise click.UsageError(f"{clean(path)} is an adapter: name its model with --base DIR.")
