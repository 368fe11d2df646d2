"""An adapter put on a base that is here: what PEFT injects, what the file supplies, and what becomes of the rest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...model import MAX_LOCATIONS, Fact, Location, Outcome
from ..base import Event
from .base import Base, Module
from .targets import Targets
from .tensors import CONFIG, PREFIX, WEIGHTS, Parts, Shape, tensor_name

_MISMATCH = "RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM: size mismatch"


class Onto(NamedTuple):
    """One adapter and the base it is put on."""

    config: Mapping[str, object]
    parts: Parts
    targets: Targets
    base: Base
    transposed: bool
    """The base keeps weights as ``[in, out]`` (GPT-2's Conv1D)."""

    def targeted(self) -> dict[str, Module]:
        """Return the modules that get a pair."""
        return {
            name: module
            for name, module in self.base.modules.items()
            if self.targets.takes(name, linear=module.kind == "linear")
        }


def doubt(onto: Onto, targeted: Mapping[str, Module]) -> str:
    """Say why the outcome cannot be known although the base is here, "" when it can."""
    if any(module.kind == "other" and module.shape is not None for module in targeted.values()):
        return "a target is a module whose class is not known"
    if onto.base.renames and any(_bare(name) not in targeted for name in onto.parts.pairs):
        return "other releases of the base's class use other names, which PEFT may translate"
    return ""


def events(onto: Onto) -> Iterator[Event]:
    """Yield what goes wrong where PEFT puts this adapter on this base."""
    targeted = onto.targeted()
    wanted = any(onto.targets.takes(name) for name in onto.base.parents)
    if wanted or any(module.kind == "norm" for module in targeted.values()):
        error = "ValueError: Target module … is not supported."
        yield Event(
            "adapter-target-unsupported", "fails", {}, (Location(CONFIG, "/target_modules"),), error=error
        )
        return
    if not targeted:
        names = onto.targets.names or (str(onto.config.get("target_modules"))[:100],)
        error = "ValueError: Target modules … not found in the base model"
        at = (Location(CONFIG, "/target_modules"),)
        yield Event("adapter-target-nowhere", "fails", {"targets": names}, at, error=error)
        return
    yield from _tied(onto, targeted)
    yield from _lost_keys(onto)
    yield from _misfits(onto, targeted)
    yield from _whole_misfits(onto)
    yield from _absent(onto, targeted)
    yield from _dropped(onto, targeted)
    yield from _biases(onto, targeted)


def _absent(onto: Onto, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Targets that the file has no pair for, or half of one: they stay as PEFT initialises them."""
    missing: dict[str, list[str]] = defaultdict(list)
    for name in targeted:
        pair = onto.parts.pairs.get(PREFIX + name)
        fits = pair is not None and pair.embedding == (targeted[name].kind == "embedding")
        if pair is None or not fits or (pair.a is None and pair.b is None):
            missing[_template(name)].append(name)
    for template, names in missing.items():
        places = _places([f"{PREFIX}{name}.lora_A.weight" for name in names])
        yield Event("adapter-no-pair", "corrupt", {}, places, template, len(names))


def _misfits(onto: Onto, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Halves made for other widths than the base has: load_state_dict refuses them."""
    wrong: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for name, module in targeted.items():
        pair = onto.parts.pairs.get(PREFIX + name)
        if pair is None or module.shape is None or len(module.shape) != 2:
            continue
        first, last = module.shape
        inner, outer = (first, last) if (module.kind == "embedding") != onto.transposed else (last, first)
        for half, got, expected in (("A", pair.a, inner), ("B", pair.b, outer)):
            size = None if got is None else got[1] if half == "A" else got[0]
            if size is not None and size != expected:
                key = (_template(name), half, expected, size)
                wrong[key].append(tensor_name(PREFIX + name, pair, half))
    for (template, half, expected, size), names in wrong.items():
        facts: dict[str, Fact] = {"expected": expected, "got": size, "half": half}
        yield Event("adapter-misfit", "fails", facts, _places(names), template, len(names), _MISMATCH)


def _whole_misfits(onto: Onto) -> Iterator[Event]:
    """Whole modules of another shape than the base's, a resized vocabulary most often."""
    wrong: dict[tuple[str, Shape, Shape], list[str]] = defaultdict(list)
    for name, shape in onto.parts.whole.items():
        held = _held(onto, name)
        if held is not None and held != shape:
            wrong[_template(_bare(name)), held, shape].append(name)
    for (template, held, shape), names in wrong.items():
        facts: dict[str, Fact] = {"expected": held, "got": shape}
        yield Event("adapter-whole-misfit", "fails", facts, _places(names), template, len(names), _MISMATCH)


def _held(onto: Onto, name: str) -> Shape | None:
    """The shape that the base has under the name of a whole tensor, None where it has none."""
    module, _, leaf = _bare(name).replace(".base_layer.", ".").rpartition(".")
    found = onto.base.modules.get(module)
    if found is None or leaf not in ("weight", "bias"):
        return None
    return found.shape if leaf == "weight" else found.bias


def _lost_keys(onto: Onto) -> Iterator[Event]:
    """Modules that are to be loaded whole and are not in the file: PEFT looks each up and stops at a KeyError.

    It goes by the end of a module's name (``norm`` names ``input_layernorm`` too).
    """
    missing = [
        f"{PREFIX}{name}.{leaf}"
        for name, module in onto.base.modules.items()
        if name.endswith(onto.targets.saved or ("\0",)) and not _tied_head(onto, module)
        for leaf, shape in (("weight", module.shape), ("bias", module.bias))
        if shape is not None and f"{PREFIX}{name}.{leaf}" not in onto.parts.whole
    ]
    if missing:
        places = _places(missing)
        error = f"KeyError: '{missing[0]}'"
        yield Event("adapter-saved-absent", "fails", {}, places, "", len(missing), error)


def _tied(onto: Onto, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """A pair on one end of a tied base: computed apart while loaded, but merging writes it into the shared weight."""
    ends = [name for name, module in targeted.items() if module.kind in ("head", "embedding")]
    if onto.base.tied and ends and not onto.config.get("ensure_weight_tying"):
        at = (Location(CONFIG, "/target_modules"),)
        yield Event("adapter-tied", "ok", {"modules": tuple(sorted(ends))}, at)


def _tied_head(onto: Onto, module: Module) -> bool:
    return onto.base.tied and module.kind == "head"


def _dropped(onto: Onto, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Pairs for modules that get none: PEFT drops them without a word.

    Where other layers of the same module are targets, or every layer has such a pair, they were trained and are lost;
    a single pair of another kind is a left-over.
    """
    stray: dict[str, list[str]] = defaultdict(list)
    for name in onto.parts.pairs:
        if _bare(name) not in targeted:
            stray[_template(_bare(name))].append(name)
    layers: dict[str, int] = defaultdict(int)
    for name in onto.parts.pairs:
        layers[_template(_bare(name))] += 1
    kinds = {_template(name) for name in targeted}
    most = max(layers.values(), default=0)
    for template, names in stray.items():
        outcome: Outcome = "corrupt" if template in kinds or len(names) == most else "ok"
        places = _places([tensor_name(name, onto.parts.pairs[name], "A") for name in names])
        yield Event("adapter-dropped-pair", outcome, {}, places, template, len(names))


def _biases(onto: Onto, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """With ``bias: lora_only`` every target's bias was trained; one that is not in the file stays the base's."""
    if onto.config.get("bias") != "lora_only":
        return
    missing = [
        f"{PREFIX}{name}.base_layer.bias"
        for name, module in targeted.items()
        if module.bias is not None
        and not {f"{PREFIX}{name}.base_layer.bias", f"{PREFIX}{name}.bias"} & onto.parts.whole.keys()
    ]
    if missing:
        places = _places(missing)
        yield Event("adapter-bias-absent", "corrupt", {}, places, "", len(missing))


def _places(names: list[str]) -> tuple[Location, ...]:
    return tuple(Location(WEIGHTS, tensor=name) for name in names[:MAX_LOCATIONS])


def _bare(name: str) -> str:
    return name.removeprefix(PREFIX)


def _template(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|\Z)", "*", name)
