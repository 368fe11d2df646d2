"""What the user typed, turned into paths, targets and rules; or a usage error with a hint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..model import Target
from ..render.safe import clean

if TYPE_CHECKING:
    from ..ruledata import Rulebook
    from ..sources.base import Source


def existing(path: str) -> str:
    """Return ``path`` if there is something, else raise UsageError with the likeliest reason."""
    if os.path.lexists(path):
        return path
    hint = _path_hint(path)
    raise click.UsageError(f"{clean(path)}: no such file or directory." + (f" {hint}" if hint else ""))


def checkpoint(path: str) -> str:
    """Return ``path`` if it is there or names a model on the Hub, else raise UsageError."""
    return path if on_hub(path) else existing(path)


def on_hub(path: str) -> bool:
    """Tell whether ``path`` is nothing here and names a model on the Hub. Asks nobody."""
    from ..sources.hub.names import hub_name

    return not os.path.lexists(path) and hub_name(path) is not None


def _path_hint(path: str) -> str:
    wanted = Path(path)
    try:
        names = [entry.name for entry in wanted.parent.iterdir()]
    except OSError:
        names = []
    close = _closest(wanted.name, names)
    if close:
        return f"Did you mean {clean(str(wanted.with_name(close)))}?"
    if on_hub(path):
        model = path.removeprefix("hf://")
        return f"To do this with a model of the Hub, fetch it first: hf download {model} --local-dir {wanted.name}"
    if re.fullmatch(r"[\w-][\w.-]*", path):
        return f"A model of the Hub: hf://{path}"
    return ""


def base(path: str) -> Source:
    """Return the model that ``--base`` names, here or on the Hub; raise UsageError unless it has a config.json."""
    from ..sources import open_source

    if on_hub(path):
        return _hub_base(path)
    if not Path(existing(path), "config.json").is_file():
        raise click.UsageError(f"--base {clean(path)}: expected a model directory, with a config.json in it.")
    return open_source(path)


def _hub_base(path: str) -> Source:
    from ..sources import open_source

    try:
        source = open_source(path)
    except OSError as error:
        raise click.UsageError(f"--base {clean(str(error))}") from error
    if "config.json" not in source.entries():
        raise click.UsageError(f"--base {clean(path)}: expected a model, with a config.json in it.")
    return source


def is_adapter(path: str) -> bool:
    """Tell whether ``path`` is an adapter's directory: it has adapter_config.json and no config.json."""
    return Path(path, "adapter_config.json").is_file() and not Path(path, "config.json").is_file()


def targets(texts: Sequence[str], rulebook: Rulebook, *, adapter: bool = False) -> tuple[Target, ...]:
    """Return the targets named by ``--for``, the default ones when none is named; duplicates once.

    The default targets of an ``adapter`` begin with PEFT.
    """
    from ..targets import TargetError, default_targets

    if not texts:
        return default_targets(rulebook, adapter=adapter)
    from ..sweeps import expand

    try:
        return tuple({target.label: target for text in texts for target in expand(text, rulebook)}.values())
    except TargetError as error:
        raise click.UsageError(clean(str(error))) from error


def comparable(targets: Sequence[Target]) -> None:
    """Raise UsageError unless some loader is there in two versions."""
    if len({target.loader for target in targets}) == len(targets):
        named = ", ".join(target.label for target in targets)
        raise click.UsageError(
            f"--changed-only compares versions of one loader, got only {named}. Name two, such as "
            "--for vllm==0.27.1 --for vllm==0.33.0, or a range: --for 'vllm==*'."
        )


def rules(texts: Iterable[str], option: str, rulebook: Rulebook) -> tuple[str, ...]:
    """Return rule ids and families named by ``option`` (comma-separated is fine); each must name a rule."""
    known = [card.id for card in rulebook.cards]
    families = {rule.split("/")[0] + "/" for rule in known}
    wanted = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    for item in wanted:
        if item not in known and item.rstrip("/") + "/" not in families:
            close = _closest(item, [*known, *families])
            hint = f" Did you mean {close}?" if close else " `ckptdoctor rules` lists them."
            raise click.UsageError(f"{option} {clean(item)}: no such rule or family.{hint}")
    return tuple(dict.fromkeys(wanted))


def rule(text: str, rulebook: Rulebook) -> str | None:
    """Return the id of the one rule ``text`` names, in full or by its last part; None when it names none."""
    known = [card.id for card in rulebook.cards]
    found = [text] if text in known else [item for item in known if item.endswith("/" + text)]
    if len(found) > 1:
        raise click.UsageError(f"{clean(text)} names {len(found)} rules: {', '.join(found)}")
    return found[0] if found else None


def looks_like_rule(text: str) -> bool:
    """Tell whether ``text`` is meant as a rule id rather than as an error message."""
    return re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", text) is not None


def unknown_rule(text: str, rulebook: Rulebook) -> click.UsageError:
    """Return the error for a rule id that does not exist, with the nearest one that does."""
    known = [card.id for card in rulebook.cards]
    close = _closest(text, known) or _closest(text, [item.split("/")[1] for item in known])
    hint = f"Did you mean {close}?" if close else "`ckptdoctor rules` lists them."
    return click.UsageError(f"{clean(text)}: no such rule. {hint}")


def _closest(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, names, n=1, cutoff=0.7)), "")


def without_checkpoint(path: str) -> str:
    """Return why there is nothing to check in a directory that holds no checkpoint; it may hold GGUF files."""
    try:
        gguf = sorted(file.name for file in Path(path).iterdir() if file.name.endswith(".gguf"))
    except OSError:
        gguf = []
    if not gguf:
        return "no safetensors file, shard index or config here or below"
    return (
        f"only GGUF here, which llama.cpp and what is built on it (Ollama, LM Studio) read: give them {gguf[0]}; "
        "for the others fetch the safetensors it was converted from"
    )
