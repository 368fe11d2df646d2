"""What PEFT makes of a LoRA adapter directory: its tensors against its own adapter_config.json, and against its base.

``PeftModel.from_pretrained`` injects a fresh pair into every target module of the base and then loads the file over
them by name: what the file lacks stays as it was initialised, what it has in excess is dropped, with a warning at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ... import ruledata
from ...checkpoint.nouns import Checkpoint
from ...model import Location
from ...skiplists.safe_regex import UnsafeRegex
from .. import facts
from ..base import Data, Event, Plan, Run
from . import own, pairs, settings
from . import targets as adapter_targets
from .base import base_of
from .tensors import CONFIG, WEIGHTS, parts
from .with_base import Adapted, doubt
from .with_base import events as events_with_base

_MATRICES_TURNED = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
"""Model types whose linear layers are transformers' Conv1D, which keeps its weight as ``[in, out]``."""
NO_BASE = "only its base can tell whether the adapter fits; name it with --base"


def plan(run: Run) -> Plan:
    """Plan the loading of a folder that holds adapter_config.json and no config.json."""
    ckpt, opened = run.ckpt, frozenset({CONFIG, WEIGHTS})
    at = (Location(CONFIG),)
    kind = ckpt.object(CONFIG).get("peft_type")
    if kind is None and CONFIG in ckpt.docs and ckpt.docs[CONFIG].value is not None:
        return Plan(
            (), opened, (Event("adapter-type-absent", "fails", {}, at, error="KeyError: 'peft_type'"),)
        )
    if kind != "LORA":
        refusal = tuple(_unknown_type(kind, peft_data(run))) if isinstance(kind, str) else ()
        why = "" if refusal else "an adapter of a kind that is not modelled" if kind else "an adapter"
        return Plan((), opened, refusal, unknown=why)
    if WEIGHTS in ckpt.entries:
        return Plan((WEIGHTS,), opened, method="lora")
    if ckpt.metadata_only or "adapter_model.bin" in ckpt.entries:
        return Plan((), opened, unknown="the adapter's weights are pickled or not here")
    error = "ValueError: Can't find weights for the adapter"
    return Plan((), opened, (Event("adapter-weights-absent", "fails", {}, at, error=error),))


def judge(run: Run, version: str = "") -> tuple[list[Event], str]:
    """Return what PEFT does with a LoRA adapter, and why that may not be all (``""``: it is).

    ``version`` is PEFT's, the newest known where it is not given.
    """
    ckpt = run.ckpt
    shard = ckpt.shards.get(WEIGHTS)
    if shard is None or not shard.readable:
        return [], "the adapter's weights are not here"  # an unreadable file is a finding of its own
    data = peft_data(run)
    version = version or _newest(data)
    config = ckpt.object(CONFIG)
    found = parts(shard)
    events = list(settings.config_events(config, version, data))
    named = list(pairs.name_events(found, facts.does(data, "names-may-carry-default", version)))
    if named:
        return [*events, *named], ""
    base = base_of(ckpt.base) if ckpt.base is not None else NO_BASE
    default = _default_targets(ckpt, data, version)
    targets = adapter_targets.read(config, default)
    if isinstance(targets, str):
        return [*events, *pairs.pair_events(config, found, None)], targets
    events += pairs.pair_events(config, found, targets)
    try:
        if isinstance(base, str):
            return [*events, *own.target_events(config, found, targets)], base
        turned = ckpt.base is not None and ckpt.base.config.get("model_type") in _MATRICES_TURNED
        adapted = Adapted(config, found, targets, base, turned)
        unsure = doubt(adapted, adapted.targeted())
        return [*events, *_base_name(ckpt), *([] if unsure else events_with_base(adapted))], unsure
    except UnsafeRegex:
        return events, "an expression in the config takes too long to evaluate"


def peft_data(run: Run) -> Data:
    """Return what is known of PEFT, whichever loader calls it."""
    return run.loaders["peft"]


def _newest(data: Data) -> str:
    known = data.get("releases")
    table = known.get("peft", {}) if isinstance(known, Mapping) else {}
    return max(table, key=ruledata.parse_version, default="")


def _unknown_type(kind: str, data: Data) -> Iterator[Event]:
    known = data.get("types")
    names = str(known.get("names", "")).split() if isinstance(known, Mapping) else []
    if names and kind not in names:
        at = (Location(CONFIG, "/peft_type"),)
        yield Event(
            "adapter-type-unknown", "fails", {"type": kind[:100]}, at, error=f"KeyError: '{kind[:100]}'"
        )


def _default_targets(ckpt: Checkpoint, data: Data, version: str) -> tuple[str, ...] | None:
    table = data.get("default_targets")
    kind = ckpt.base.config.get("model_type") if ckpt.base is not None else None
    if not isinstance(table, Mapping) or not isinstance(kind, str):
        return None
    names = table["by_model_type"].get(kind)
    return tuple(names) if names and ruledata.matches(table["versions"], version) else None


def _base_name(ckpt: Checkpoint) -> Iterator[Event]:
    """The base given and the base named: PEFT compares them by nothing but shapes."""
    named = ckpt.object(CONFIG).get("base_model_name_or_path")
    if ckpt.base is None or not isinstance(named, str) or not named:
        return
    given = ckpt.base.label.rstrip("/").rpartition("/")[2]
    wanted = named.rstrip("/").rpartition("/")[2]
    if given.casefold() != wanted.casefold():
        at = (Location(CONFIG, "/base_model_name_or_path"),)
        yield Event("adapter-other-base", "ok", {"named": wanted[:100], "given": given[:100]}, at)
