"""``ckptdoctor env``: do the packages installed here go together, and if not, what to install."""

from __future__ import annotations

import sys

import click

from .exits import FINDINGS, NO_VERDICT, OK
from .interpreters import place
from .output import deliver, page_for

_FOR = "What --make is to install: vllm==0.32.0, transformers==5.23.0 or peft."
_DEVICE = "What --make installs for. vLLM for CPUs is another package than vLLM for CUDA."
_PYTHON = "Another interpreter, virtual environment or site-packages directory to look at."


@click.command(short_help="Do the packages installed here go together?")
@click.option("--python", metavar="PATH", help=_PYTHON)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the report there instead of to the screen.")
@click.option("--verbose", is_flag=True, help="What each statement rests on, with links.")
@click.option(
    "--make", "folder", metavar="DIR", help="Make an environment there that has the loader of --for."
)
@click.option("--for", "target", metavar="TARGET", default="vllm", show_default=True, help=_FOR)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True, help=_DEVICE)
@click.pass_context
def env(
    context: click.Context,
    python: str | None,
    form: str,
    output: str | None,
    verbose: bool,
    folder: str | None,
    target: str,
    device: str,
) -> int:
    """List torch, transformers, vLLM, Unsloth and what goes with them, and whether their versions fit.

    Versions are read from the names of installed distributions; nothing is imported. Exit codes: 0 they go together,
    1 they do not, 3 none of them is installed.

    With --make nothing is listed: a new environment is made, by uv where it is installed, else by venv and pip.
    """
    from .. import ruledata
    from ..environment import examine
    from ..remedy import remedy
    from ..render import environment as rendering
    from ..targets import distributions

    _fitting(context, making=folder is not None)
    rulebook = ruledata.load()
    if folder is not None:
        from .making import make

        return make(folder, target, device, python, rulebook)
    interpreter, paths = place(python)
    found = distributions(rulebook, paths)
    judged = examine({package: version for package, (_, version) in found.items()}, rulebook)
    names = {package: name for package, (name, _) in found.items()}
    report = rendering.Installation(interpreter, judged, remedy(judged.packages, rulebook), names, rulebook)
    page = page_for(None if output is not None else sys.stdout, verbose=verbose)
    text = rendering.as_json(report) if form == "json" else rendering.as_text(report, page)
    deliver(text, output, color=page.color)
    if not judged.packages:
        return NO_VERDICT
    return FINDINGS if judged.problems else OK


def _fitting(context: click.Context, *, making: bool) -> None:
    """Raise UsageError for an option that would do nothing: those of a report with --make, those of --make without."""
    idle = {"form": "--format", "output": "--output", "verbose": "--verbose"}
    if not making:
        idle = {"target": "--for", "device": "--device"}
    for name, option in idle.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} goes {'without' if making else 'with'} --make.")
