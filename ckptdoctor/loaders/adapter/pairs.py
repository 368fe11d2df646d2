"""Pairs of an adapter file by themselves: their names, their halves, their ranks, and DoRA's magnitudes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ...model import Fact, Location
from ..base import Event
from .targets import Targets
from .tensors import PREFIX, WEIGHTS, Pair, Parts, alone, bare, halves, places, template, tensor_name

MISMATCH = "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM: size mismatch"


def name_events(found: Parts, may_carry_default: bool) -> Iterator[Event]:
    """Yield where no tensor, or not one pair, has a name that PEFT looks for."""
    if found.pairs and not found.prefixed:
        yield Event(
            "adapter-names", "corrupt", {"expected": PREFIX}, (Location(WEIGHTS),), count=len(found.pairs)
        )
    elif not found.pairs and any(".lora" in name or "lora_" in name for name in found.whole):
        details: dict[str, Fact] = {"expected": "lora_A"}
        yield Event("adapter-names", "corrupt", details, (Location(WEIGHTS),), count=len(found.whole))
    elif found.labelled - ({"default"} if may_carry_default else set()):
        label = min(found.labelled)
        at = (Location(WEIGHTS),)
        yield Event("adapter-labelled", "corrupt", {"label": label[:60]}, at, count=len(found.pairs))


def pair_events(config: Mapping[str, object], found: Parts, targets: Targets | None) -> Iterator[Event]:
    """Yield halves without the other, ranks that the config does not give, and DoRA on one side only."""
    for half in ("A", "B"):
        lone = alone(found, half)
        if lone:
            yield Event("adapter-half", "corrupt", {"half": half}, halves(found, lone, half), count=len(lone))
    if targets is not None and targets.rank > 0:
        yield from rank_events(found, targets)
    if config.get("use_dora"):
        yield from _without_magnitude(found)
        yield from _magnitudes_misfit(found)
    else:
        yield from _with_magnitude(found)


def rank_events(found: Parts, targets: Targets) -> Iterator[Event]:
    """Yield halves of another rank than the config gives the module (``LoraLayer.update_layer``)."""
    wrong: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, pair in found.pairs.items():
        expected = targets.rank_of(bare(name))
        for half, shape, axis in (("A", pair.a, 0), ("B", pair.b, 1)):
            if shape is not None and shape[axis] != expected:
                wrong[expected, shape[axis]].append(tensor_name(name, pair, half))
    for (expected, got), tensors in wrong.items():
        details: dict[str, Fact] = {"expected": expected, "got": got}
        yield Event("adapter-rank", "fails", details, places(tensors), count=len(tensors), error=MISMATCH)


def _without_magnitude(found: Parts) -> Iterator[Event]:
    """DoRA keeps a magnitude vector beside each pair; without one PEFT makes it anew from the base's weight."""
    return _magnitudes([n for n, p in found.pairs.items() if p.magnitude is None and p.a and p.b], True)


def _with_magnitude(found: Parts) -> Iterator[Event]:
    """A magnitude vector that no DoRA was declared for is dropped."""
    return _magnitudes([n for n, p in found.pairs.items() if p.magnitude is not None], False)


def _magnitudes(names: list[str], declared: bool) -> Iterator[Event]:
    if names:
        at = places([_magnitude(name) for name in names])
        yield Event("adapter-magnitude", "corrupt", {"declared": declared}, at, count=len(names))


def _magnitudes_misfit(found: Parts) -> Iterator[Event]:
    """Yield magnitude vectors of another length than B has rows."""
    for name, pair in found.pairs.items():
        if _fits(pair) or pair.b is None:
            continue
        got = pair.magnitude[-1] if pair.magnitude else 0
        details: dict[str, Fact] = {"expected": pair.b[0], "got": got, "half": "magnitude"}
        at = places([_magnitude(name)])
        yield Event("adapter-misfit", "fails", details, at, template(bare(name)), error=MISMATCH)


def _fits(pair: Pair) -> bool:
    """Whether there is no magnitude vector, no B, or both have one length."""
    return pair.magnitude is None or pair.b is None or pair.magnitude[-1:] == pair.b[:1]


def _magnitude(module: str) -> str:
    return f"{module}.lora_magnitude_vector"
