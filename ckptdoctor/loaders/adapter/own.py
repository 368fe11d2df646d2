"""What a LoRA adapter shows to be wrong by itself, its base unseen: its pairs against the targets in its config."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from ...model import Location, Outcome
from ..base import Event
from .targets import Targets
from .tensors import CONFIG, Pair, Parts, bare, halves, places, template

_AT = (Location(CONFIG, "/target_modules"),)


def target_events(config: Mapping[str, object], found: Parts, targets: Targets) -> Iterator[Event]:
    """Yield where the pairs in the file and the targets in the config are not the same modules."""
    if not found.pairs:
        return
    names = {name: bare(name) for name in found.pairs}
    taken = [name for name in names if targets.all_linear or targets.takes(names[name])]
    absent = _absent(targets.names or (), names.values())
    if not taken:
        missing = absent or targets.names or (str(config.get("target_modules"))[:100],)
        yield Event("adapter-target-absent", "fails", {"targets": missing}, _AT)
        return
    if absent:
        yield Event("adapter-target-absent", "corrupt", {"targets": absent}, _AT)
    yield from _stray(found, names, taken)
    if targets.everywhere:
        yield from _holes({name: found.pairs[name] for name in taken})


def _absent(listed: Iterable[str], modules: Collection[str]) -> tuple[str, ...]:
    """Return the entries of a list that no module ends with (``check_target_module_exists``)."""
    ends = tuple((item, f".{item}") for item in listed)
    return tuple(item for item, end in ends if not any(m == item or m.endswith(end) for m in modules))


def _stray(found: Parts, names: Mapping[str, str], taken: list[str]) -> Iterator[Event]:
    """Yield pairs of modules that are no targets: PEFT drops them."""
    stray = [name for name in names if name not in taken]
    if stray:
        last = tuple(sorted({name.rpartition(".")[2] for name in stray}))
        outcome: Outcome = "corrupt" if _trained(stray, taken, names) else "ok"
        at = halves(found, stray, "A")
        yield Event("adapter-stray-pair", outcome, {"modules": last}, at, count=len(stray))


def _holes(pairs: Mapping[str, Pair]) -> Iterator[Event]:
    """Yield a target that has a pair in some layers only, where its siblings have one in all of them."""
    layers: dict[str, set[str]] = {}
    for name in pairs:
        numbers = re.findall(r"\.(\d+)\.", name)
        if len(numbers) == 1:
            layers.setdefault(template(name), set()).add(numbers[0])
    everywhere = set().union(*layers.values()) if layers else set()
    for module, here in layers.items():
        missing = sorted(everywhere - here, key=int)
        full = sum(other == everywhere for other in layers.values())
        if missing and full and len(missing) <= len(here):
            at = places([module.replace("*", number) + ".lora_A.weight" for number in missing])
            yield Event("adapter-hole", "corrupt", {"layers": len(missing)}, at, module, len(missing))


def _trained(stray: list[str], taken: list[str], names: Mapping[str, str]) -> bool:
    """Whether stray pairs were trained: every layer has one, or other layers of the same module are targets."""
    layers = Counter(template(name) for name in names)
    most = max(layers.values())
    targeted = {template(name) for name in taken}
    mine = Counter(template(name) for name in stray)
    return all(module in targeted or count == most for module, count in mine.items())
