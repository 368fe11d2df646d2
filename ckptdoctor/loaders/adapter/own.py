"""What a LoRA adapter shows to be wrong by itself, its base unseen."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from ... import ruledata
from ...model import MAX_LOCATIONS, Fact, Location, Outcome
from ...skiplists.safe_regex import MAX_LENGTH
from .. import facts
from ..base import Event
from .targets import Targets
from .tensors import CONFIG, PREFIX, WEIGHTS, Pair, Parts, tensor_name

Config = Mapping[str, object]
_RANK = "a whole number above 0"
_COMPARED = "TypeError: '<=' not supported between instances of 'str' and 'int'"
_MISMATCH = "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM: size mismatch"


def config_events(config: Config, version: str, data: Mapping[str, object]) -> Iterator[Event]:
    """Yield values that LoraConfig cannot use, and keys that this release does not know."""
    for key, value, expected, error in values(config):
        told: dict[str, Fact] = {"key": key, "got": json.dumps(value)[:40], "expected": expected}
        yield Event("adapter-value", "fails", told, (Location(CONFIG, f"/{key}"),), error=error)
    if facts.does(data, "unknown-keys-are-dropped", version):
        return
    known = {
        name
        for row in facts.rows(data, "config_keys")
        if ruledata.matches(row["versions"], version)
        for name in row["names"]
    }
    for key in config.keys() - known:
        error = f"TypeError: LoraConfig.__init__() got an unexpected keyword argument '{key[:60]}'"
        since = _first_release(key, data)
        if since:
            at = (Location(CONFIG, f"/{key}"),)
            yield Event("adapter-key-newer", "fails", {"key": key, "since": since}, at, error=error)


def values(config: Config) -> Iterator[tuple[str, object, str, str]]:
    """Yield key, value, what is expected and the error, for each value that PEFT computes with and cannot."""
    rank, alpha, targets = config.get("r", 8), config.get("lora_alpha", 8), config.get("target_modules")
    if type(rank) is int and rank <= 0:
        error = f"ValueError: `r` should be a positive integer value but the value passed is {rank}"
        yield "r", rank, _RANK, error
    elif not _is_number(rank):
        yield "r", rank, _RANK, _COMPARED
    if not _is_number(alpha):
        yield "lora_alpha", alpha, "a number", "TypeError: unsupported operand type(s) for /"
    ranks = config.get("rank_pattern")
    for value in ranks.values() if isinstance(ranks, dict) else ():
        if not _is_number(value):
            yield "rank_pattern", value, _RANK, _COMPARED
    if isinstance(targets, str):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(targets[:MAX_LENGTH])
        except (re.error, RecursionError, OverflowError) as error:
            if len(targets) <= MAX_LENGTH and isinstance(error, re.error):
                yield "target_modules", targets, "a regular expression", f"error: {error}"
    elif targets is not None and not isinstance(targets, list):
        yield "target_modules", targets, "a list of names", "TypeError: 'int' object is not iterable"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def name_events(found: Parts, may_carry_default: bool) -> Iterator[Event]:
    """Yield where no tensor, or not one pair, has a name that PEFT looks for."""
    if found.pairs and not found.prefixed:
        yield Event(
            "adapter-names", "corrupt", {"expected": PREFIX}, (Location(WEIGHTS),), count=len(found.pairs)
        )
    elif not found.pairs and any(".lora" in name or "lora_" in name for name in found.whole):
        facts_: dict[str, Fact] = {"expected": "lora_A"}
        yield Event("adapter-names", "corrupt", facts_, (Location(WEIGHTS),), count=len(found.whole))
    elif found.labelled - ({"default"} if may_carry_default else set()):
        label = min(found.labelled)
        yield Event(
            "adapter-labelled", "corrupt", {"label": label[:60]}, (Location(WEIGHTS),), count=len(found.pairs)
        )


def pair_events(config: Config, found: Parts, targets: Targets | None) -> Iterator[Event]:
    """Yield halves without the other, ranks that the config does not give, and DoRA on one side only."""
    for half in ("a", "b"):
        lone = [
            name for name, pair in found.pairs.items() if getattr(pair, half) is None and (pair.a or pair.b)
        ]
        if lone:
            places = tuple(
                Location(WEIGHTS, tensor=tensor_name(name, found.pairs[name], half.upper()))
                for name in lone[:MAX_LOCATIONS]
            )
            yield Event("adapter-half", "corrupt", {"half": half.upper()}, places, count=len(lone))
    if targets is not None and targets.rank > 0:
        yield from _ranks(found, targets)
    yield from _magnitudes(bool(config.get("use_dora")), found)


def target_events(config: Config, found: Parts, targets: Targets) -> Iterator[Event]:
    """Yield where the pairs in the file and the targets in the config are not the same modules."""
    if not found.pairs:
        return
    at = (Location(CONFIG, "/target_modules"),)
    bare = {name: name.removeprefix(PREFIX) for name in found.pairs}
    taken = [name for name in bare if targets.all_linear or targets.takes(bare[name])]
    names = targets.names or ()
    absent = tuple(item for item in names if not any(_ends(module, item) for module in bare.values()))
    if not taken:
        told = absent or names or (str(config.get("target_modules"))[:100],)
        yield Event("adapter-target-absent", "fails", {"targets": told}, at)
        return
    if absent:
        yield Event("adapter-target-absent", "corrupt", {"targets": absent}, at)
    stray = [name for name in bare if name not in taken]
    if stray:
        places = tuple(
            Location(WEIGHTS, tensor=tensor_name(name, found.pairs[name], "A"))
            for name in stray[:MAX_LOCATIONS]
        )
        last = tuple(sorted({name.rpartition(".")[2] for name in stray}))
        outcome: Outcome = "corrupt" if _trained(stray, taken, bare) else "ok"
        yield Event("adapter-stray-pair", outcome, {"modules": last}, places, count=len(stray))
    if targets.layers is None and not targets.excluded and targets.excluding is None and not targets.ranks:
        yield from _holes({name: found.pairs[name] for name in taken})


def _ranks(found: Parts, targets: Targets) -> Iterator[Event]:
    wrong: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, pair in found.pairs.items():
        expected = targets.rank_of(name.removeprefix(PREFIX))
        for half, shape, axis in (("A", pair.a, 0), ("B", pair.b, 1)):
            if shape is not None and shape[axis] != expected:
                wrong[expected, shape[axis]].append(tensor_name(name, pair, half))
    for (expected, got), tensors in wrong.items():
        places = tuple(Location(WEIGHTS, tensor=name) for name in tensors[:MAX_LOCATIONS])
        told: dict[str, Fact] = {"expected": expected, "got": got}
        yield Event("adapter-rank", "fails", told, places, count=len(tensors), error=_MISMATCH)


def _magnitudes(declared: bool, found: Parts) -> Iterator[Event]:
    """DoRA keeps a magnitude vector beside each pair; without one PEFT makes it anew from the base's weight."""
    without = [name for name, pair in found.pairs.items() if pair.magnitude is None and pair.a and pair.b]
    having = [name for name, pair in found.pairs.items() if pair.magnitude is not None]
    lone = without if declared else having
    if lone:
        places = tuple(
            Location(WEIGHTS, tensor=f"{name}.lora_magnitude_vector") for name in lone[:MAX_LOCATIONS]
        )
        told: dict[str, Fact] = {"declared": declared}
        yield Event("adapter-magnitude", "corrupt", told, places, count=len(lone))
    for name in having if declared else ():
        pair = found.pairs[name]
        if pair.b is not None and pair.magnitude is not None and pair.magnitude[-1:] != pair.b[:1]:
            told = {
                "expected": pair.b[0],
                "got": pair.magnitude[-1] if pair.magnitude else 0,
                "half": "magnitude",
            }
            at = (Location(WEIGHTS, tensor=f"{name}.lora_magnitude_vector"),)
            yield Event(
                "adapter-misfit", "fails", told, at, _template(name.removeprefix(PREFIX)), error=_MISMATCH
            )


def _holes(pairs: Mapping[str, Pair]) -> Iterator[Event]:
    """Yield a target that has a pair in some layers only, where its siblings have one in all of them."""
    layers: dict[str, set[str]] = {}
    for module in pairs:
        numbers = re.findall(r"\.(\d+)\.", module)
        if len(numbers) == 1:
            layers.setdefault(_template(module), set()).add(numbers[0])
    everywhere = set().union(*layers.values()) if layers else set()
    for template, here in layers.items():
        missing = sorted(everywhere - here, key=int)
        full = sum(other == everywhere for other in layers.values())
        if missing and full and len(missing) <= len(here):
            places = tuple(
                Location(WEIGHTS, tensor=template.replace("*", n) + ".lora_A.weight")
                for n in missing[:MAX_LOCATIONS]
            )
            yield Event("adapter-hole", "corrupt", {"layers": len(missing)}, places, template, len(missing))


def _trained(stray: list[str], taken: list[str], bare: Mapping[str, str]) -> bool:
    """Whether stray pairs were trained: every layer has one, or other layers of the same module are targets."""
    layers = Counter(_template(name) for name in bare)
    most = max(layers.values())
    targeted = {_template(name) for name in taken}
    mine = Counter(_template(name) for name in stray)
    return all(template in targeted or count == most for template, count in mine.items())


def _first_release(key: str, data: Mapping[str, object]) -> str:
    """Return the release that brought a config key, "" for a key that no release knows."""
    known = data.get("releases")
    table = known.get("peft") if isinstance(known, Mapping) else None
    for row in facts.rows(data, "config_keys"):
        if key in row["names"] and isinstance(table, Mapping):
            having = [version for version in table if ruledata.matches(row["versions"], version)]
            return min(having, key=ruledata.parse_version, default="")
    return ""


def _ends(module: str, target: str) -> bool:
    return module == target or module.endswith(f".{target}")


def _template(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|\Z)", "*", name)
