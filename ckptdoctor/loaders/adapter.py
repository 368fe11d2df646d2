"""What PEFT makes of a LoRA adapter directory: its tensors against its own adapter_config.json (never the base).

``PeftModel.from_pretrained`` injects a fresh pair into every target module of the base and then loads the file over
them by name: what the file lacks stays as it was initialised, what it has in excess is dropped, with a warning at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint, View
from ..model import Location, Outcome
from .base import Event, Plan

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(?:\.[^.]+)?\Z")
"""A half of a pair; PEFT also takes names that still carry the adapter's own name (``lora_A.default``)."""


class Pair(NamedTuple):
    """The halves found for one module: rank and where, None for a half that is absent."""

    a: int | None
    b: int | None


def plan(ckpt: Checkpoint) -> Plan:
    """Plan the loading of a folder that holds adapter_config.json and no config.json."""
    opened = frozenset({CONFIG, WEIGHTS})
    at = (Location(CONFIG),)
    kind = ckpt.object(CONFIG).get("peft_type")
    if kind is None and CONFIG in ckpt.docs and ckpt.docs[CONFIG].value is not None:
        return Plan(
            (), opened, (Event("adapter-type-absent", "fails", {}, at, error="KeyError: 'peft_type'"),)
        )
    if kind != "LORA":
        return Plan((), opened, unknown="an adapter of a kind that is not modelled" if kind else "an adapter")
    if WEIGHTS in ckpt.entries:
        return Plan((WEIGHTS,), opened, method="lora")
    if ckpt.metadata_only or "adapter_model.bin" in ckpt.entries:
        return Plan((), opened, unknown="the adapter's weights are pickled or not here")
    error = "ValueError: Can't find weights for the adapter"
    return Plan((), opened, (Event("adapter-weights-absent", "fails", {}, at, error=error),))


def events(ckpt: Checkpoint, view: View) -> Iterator[Event]:
    """Yield where the tensors of a LoRA adapter and its config disagree."""
    config = ckpt.object(CONFIG)
    pairs = pairs_of(view)
    if not view.signatures or not all(shard.readable for shard in map(ckpt.shards.__getitem__, view.files)):
        return  # an empty or unreadable file is a finding of its own
    at = (Location(CONFIG, "/target_modules"),)
    if pairs and not any(module.startswith(_PREFIX) for module in pairs):
        yield Event("adapter-names", "corrupt", {"expected": _PREFIX}, (Location(WEIGHTS),), count=len(pairs))
        return
    for half in ("a", "b"):
        lone = [module for module, pair in pairs.items() if getattr(pair, half) is None]
        if lone:
            places = tuple(
                Location(WEIGHTS, tensor=f"{name}.lora_{half.upper()}.weight") for name in lone[:100]
            )
            yield Event("adapter-half", "corrupt", {"half": half.upper()}, places, count=len(lone))
    yield from _ranks(config, pairs)
    targets = config.get("target_modules")
    if isinstance(targets, list) and pairs and not config.get("target_parameters"):
        names = [name for name in targets if isinstance(name, str)]
        absent = tuple(name for name in names if not any(_is_target(module, [name]) for module in pairs))
        if absent:
            outcome: Outcome = "fails" if len(absent) == len(names) else "corrupt"
            yield Event("adapter-target-absent", outcome, {"targets": absent}, at)
        stray = [module for module in pairs if not _is_target(module, names)]
        if stray and len(absent) < len(names):
            places = tuple(Location(WEIGHTS, tensor=f"{name}.lora_A.weight") for name in stray[:100])
            last = tuple(sorted({name.rpartition(".")[2] for name in stray}))
            one_of = all(_siblings(pairs, name, stray) for name in stray)
            yield Event(
                "adapter-stray-pair",
                "corrupt" if one_of else "ok",
                {"modules": last},
                places,
                count=len(stray),
            )
    if not any(
        config.get(key)
        for key in ("layers_to_transform", "layers_pattern", "exclude_modules", "rank_pattern")
    ):
        listed = [name for name in targets if isinstance(name, str)] if isinstance(targets, list) else None
        yield from _holes({m: pair for m, pair in pairs.items() if listed is None or _is_target(m, listed)})


def pairs_of(view: View) -> dict[str, Pair]:
    """Return the pairs of a LoRA adapter by module."""
    found: dict[str, Pair] = {}
    for signature in view.signatures:
        for leaf in signature.leaves:
            for module in signature.modules:
                named = _PAIR.match(
                    module if leaf.name == "weight" else f"{module}.{leaf.name}".removesuffix(".weight")
                )
                if named is None or not leaf.shape:
                    continue
                pair = found.get(named["module"], Pair(None, None))
                rank = leaf.shape[0] if named["half"] == "A" else leaf.shape[-1]
                found[named["module"]] = pair._replace(**{named["half"].lower(): rank})
    return found


def _ranks(config: Mapping[str, object], pairs: Mapping[str, Pair]) -> Iterator[Event]:
    rank = config.get("r")
    if type(rank) is not int or config.get("rank_pattern"):
        return
    wrong: dict[int, list[str]] = {}
    for module, pair in pairs.items():
        for half, got in (("A", pair.a), ("B", pair.b)):
            if got is not None and got != rank:
                wrong.setdefault(got, []).append(f"{module}.lora_{half}.weight")
    for got, tensors in wrong.items():
        places = tuple(Location(WEIGHTS, tensor=name) for name in tensors[:100])
        error = "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM: size mismatch"
        yield Event(
            "adapter-rank", "fails", {"expected": rank, "got": got}, places, count=len(tensors), error=error
        )


def _holes(pairs: Mapping[str, Pair]) -> Iterator[Event]:
    """Yield a target that has a pair in some layers only, where its siblings have one in all of them."""
    layers: dict[str, set[str]] = {}
    for module in pairs:
        numbers = re.findall(r"\.(\d+)\.", module)
        if len(numbers) == 1:
            layers.setdefault(re.sub(r"\.\d+\.", ".*.", module), set()).add(numbers[0])
    everywhere = set().union(*layers.values()) if layers else set()
    for template, here in layers.items():
        missing = sorted(everywhere - here, key=int)
        full = sum(other == everywhere for other in layers.values())
        if missing and full and len(missing) <= len(here):
            places = tuple(
                Location(WEIGHTS, tensor=template.replace("*", n) + ".lora_A.weight") for n in missing[:100]
            )
            yield Event("adapter-hole", "corrupt", {"layers": len(missing)}, places, template, len(missing))


def _siblings(pairs: Mapping[str, Pair], module: str, stray: list[str]) -> bool:
    """Whether a stray pair's kind has a pair in every layer: a forgotten target, not a leftover."""
    template = re.sub(r"\.\d+\.", ".*.", module)
    mine = sum(re.sub(r"\.\d+\.", ".*.", name) == template for name in stray)
    most = max(
        sum(re.sub(r"\.\d+\.", ".*.", name) == other for name in pairs)
        for other in {re.sub(r"\.\d+\.", ".*.", name) for name in pairs}
    )
    return mine == most


def _is_target(module: str, targets: list[str]) -> bool:
    return any(module == target or module.endswith(f".{target}") for target in targets)
