"""What vLLM makes of a LoRA adapter (``--enable-lora``): ``lora/peft_helper.py`` and ``lora/lora_model.py``.

It reads the tensors by name and applies what it finds; of the config it looks at r, lora_alpha and what it does not
support. Which modules are targets it does not ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...model import Fact, Location, Outcome, Target
from ..adapter import pairs, settings
from ..adapter import targets as adapter_targets
from ..adapter.tensors import CONFIG, WEIGHTS, Pair, Parts, alone, halves, parts, places, tensor_name
from ..base import Event, Plan
from .run import VllmRun

_FIELDS = ("r", "lora_alpha", "target_modules")
_HEADS = {"classifier", "score"}
_LIMIT = 16
"""Default of --max-lora-rank."""
_LONE: dict[str, Outcome] = {"B": "fails", "A": "corrupt"}
"""What a half that is missing costs (observed)."""
NO_BASE = "an adapter: its base model decides"


def plan(run: VllmRun) -> Plan:
    """Plan the loading of a folder that holds adapter_config.json and no config.json."""
    ckpt, opened = run.ckpt, frozenset({CONFIG, WEIGHTS})
    if not run.does("adapters-are-modelled") or not ckpt.object(CONFIG):
        return Plan((), frozenset({CONFIG}), unknown=NO_BASE)
    if WEIGHTS in ckpt.entries:
        return Plan((WEIGHTS,), opened, method="lora")
    if ckpt.metadata_only or any(f"adapter_model.{end}" in ckpt.entries for end in ("bin", "pt")):
        return Plan((), opened, unknown="the adapter's weights are pickled or not here")
    error = "ValueError: … doesn't contain tensors"
    return Plan((), opened, (Event("adapter-weights-absent", "fails", {}, (Location(CONFIG),), error=error),))


def judge(run: VllmRun) -> tuple[list[Event], str]:
    """Return what vLLM refuses or computes wrongly, and why that may not be all."""
    ckpt, target = run.ckpt, run.target
    shard = ckpt.shards.get(WEIGHTS)
    if shard is None or not shard.readable:
        return [], "the adapter's weights are not here"
    config, found = ckpt.object(CONFIG), parts(shard)
    events = [*_refused(config, target), *_tensors(found)]
    if not any(event.outcome == "fails" for event in events):
        events += _values(config, found, _limit(target))
    return events, NO_BASE


def _refused(config: Mapping[str, object], target: Target) -> Iterator[Event]:
    """Settings that PEFTHelper stops at: ``from_dict``, ``_validate_features`` and ``validate_legal``."""
    absent = tuple(key for key in _FIELDS if key not in config)
    if absent:
        error = "ValueError: Missing required configuration fields"
        yield Event("adapter-field-absent", "fails", {"keys": absent}, (Location(CONFIG),), error=error)
        return
    for key, value, expected, error in settings.values(config):
        if key in ("r", "lora_alpha"):  # rank_pattern only from 0.32 on
            details: dict[str, Fact] = {"key": key, "got": str(value)[:40], "expected": expected}
            yield Event("adapter-value", "fails", details, _at(key), error=error)
    for key, error in _unsupported(config):
        yield Event("adapter-unsupported", "fails", {"key": key}, _at(key), error=error)
    limit, rank = _limit(target), config.get("r")
    if isinstance(rank, int) and rank > limit:
        error = f"ValueError: LoRA rank {rank} is greater than max_lora_rank {limit}."
        yield Event("adapter-rank-limit", "fails", {"rank": rank, "limit": limit}, _at("r"), error=error)


def _unsupported(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the keys of variants of LoRA that vLLM has not, each with what it says."""
    saved = config.get("modules_to_save")
    if config.get("use_dora"):
        yield "use_dora", "ValueError: vLLM does not yet support DoRA."
    if saved and not (isinstance(saved, list) and set(map(str, saved)) <= _HEADS):
        yield "modules_to_save", "ValueError: vLLM only supports modules_to_save being None."
    if config.get("bias") not in (None, "none"):
        yield "bias", "ValueError: Adapter bias is not supported."


def _at(key: str) -> tuple[Location, ...]:
    return (Location(CONFIG, f"/{key}"),)


def _limit(target: Target) -> int:
    given = target.options.get("max_lora_rank")
    return given if type(given) is int else _LIMIT


def _tensors(found: Parts) -> Iterator[Event]:
    """Names that are no half of a pair, and pairs without their B: each stops ``LoRAModel.from_local_checkpoint``."""
    odd = [*_odd(found)]
    if odd:
        error = "ValueError: … is unsupported LoRA weight"
        yield Event("adapter-unsupported-tensor", "fails", {}, places(odd), count=len(odd), error=error)
    for half, outcome in _LONE.items():
        lone = alone(found, half)
        if lone and not any(found.pairs[name].embedding for name in lone):
            yield Event("adapter-half", outcome, {"half": half}, halves(found, lone, half), count=len(lone))


def _odd(found: Parts) -> Iterator[str]:
    """Yield what ``parse_fine_tuned_lora_name`` makes nothing of.

    Heads of classifiers are passed over: newer releases load them, and which is not recorded.
    """
    yield from (name for name in found.whole if not _HEADS & set(name.split(".")))
    yield from (f"{name}.lora_magnitude_vector" for name, pair in found.pairs.items() if pair.magnitude)
    if found.labelled:
        yield from (tensor_name(name, pair, "A") for name, pair in found.pairs.items())


def _values(config: Mapping[str, object], found: Parts, limit: int) -> Iterator[Event]:
    """A rank in the config that is not the pairs': every delta is scaled by lora_alpha over it.

    A pair whose halves differ, or of a rank that the buffers have no room for, is left to its base to judge.
    """
    targets = adapter_targets.read({**config, "target_modules": [], "modules_to_save": None}, None)
    if isinstance(targets, str) or targets.ranks or targets.rank <= 0:
        return
    if all(_consistent(pair, limit) for pair in found.pairs.values()):
        for event in pairs.rank_events(found, targets):
            yield event._replace(outcome="corrupt", error=None)


def _consistent(pair: Pair, limit: int) -> bool:
    """Whether both halves are there, of one rank that the buffers have room for."""
    return pair.a is not None and pair.b is not None and pair.a[0] == pair.b[1] and pair.a[0] <= limit
