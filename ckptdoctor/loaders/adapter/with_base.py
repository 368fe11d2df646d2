"""An adapter put on a base that is here: what PEFT injects, what the file supplies, and what becomes of the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...model import Fact, Location, Outcome
from ..base import Event
from .base import Base, Module
from .pairs import MISMATCH
from .targets import Targets
from .tensors import CONFIG, PREFIX, Parts, Shape, bare, places, template, tensor_name


class Adapted(NamedTuple):
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


def doubt(adapted: Adapted, targeted: Mapping[str, Module]) -> str:
    """Say why the outcome cannot be known although the base is here, "" when it can."""
    if any(module.kind == "other" and module.shape is not None for module in targeted.values()):
        return "a target is a module whose class is not known"
    if adapted.base.renames and any(bare(name) not in targeted for name in adapted.parts.pairs):
        return "other releases of the base's class use other names, which PEFT may translate"
    return ""


def events(adapted: Adapted) -> Iterator[Event]:
    """Yield what goes wrong where PEFT puts this adapter on this base."""
    targeted = adapted.targeted()
    wanted = any(adapted.targets.takes(name) for name in adapted.base.parents)
    if wanted or any(module.kind == "norm" for module in targeted.values()):
        error = "ValueError: Target module … is not supported."
        yield Event(
            "adapter-target-unsupported", "fails", {}, (Location(CONFIG, "/target_modules"),), error=error
        )
        return
    if not targeted:
        names = adapted.targets.names or (str(adapted.config.get("target_modules"))[:100],)
        error = "ValueError: Target modules … not found in the base model"
        at = (Location(CONFIG, "/target_modules"),)
        yield Event("adapter-target-nowhere", "fails", {"targets": names}, at, error=error)
        return
    yield from _tied(adapted, targeted)
    yield from _lost_keys(adapted)
    yield from _misfits(adapted, targeted)
    yield from _whole_misfits(adapted)
    yield from _absent(adapted, targeted)
    yield from _dropped(adapted, targeted)
    yield from _biases(adapted, targeted)


def _absent(adapted: Adapted, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Targets that the file has no pair for, or half of one: they stay as PEFT initialises them."""
    missing: dict[str, list[str]] = defaultdict(list)
    for name in targeted:
        pair = adapted.parts.pairs.get(PREFIX + name)
        fits = pair is not None and pair.embedding == (targeted[name].kind == "embedding")
        if pair is None or not fits or (pair.a is None and pair.b is None):
            missing[template(name)].append(name)
    for module, names in missing.items():
        at = places([f"{PREFIX}{name}.lora_A.weight" for name in names])
        yield Event("adapter-no-pair", "corrupt", {}, at, module, len(names))


def _misfits(adapted: Adapted, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Halves made for other widths than the base has: load_state_dict refuses them."""
    wrong: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for name, module in targeted.items():
        pair = adapted.parts.pairs.get(PREFIX + name)
        if pair is None or module.shape is None or len(module.shape) != 2:
            continue
        first, last = module.shape
        inner, outer = (first, last) if (module.kind == "embedding") != adapted.transposed else (last, first)
        for half, got, expected in (("A", pair.a, inner), ("B", pair.b, outer)):
            size = None if got is None else got[1] if half == "A" else got[0]
            if size is not None and size != expected:
                key = (template(name), half, expected, size)
                wrong[key].append(tensor_name(PREFIX + name, pair, half))
    for (where, half, expected, size), names in wrong.items():
        details: dict[str, Fact] = {"expected": expected, "got": size, "half": half}
        yield Event("adapter-misfit", "fails", details, places(names), where, len(names), MISMATCH)


def _whole_misfits(adapted: Adapted) -> Iterator[Event]:
    """Whole modules of another shape than the base's, a resized vocabulary most often."""
    wrong: dict[tuple[str, Shape, Shape], list[str]] = defaultdict(list)
    for name, shape in adapted.parts.whole.items():
        stored = _shape_in_base(adapted, name)
        if stored is not None and stored != shape:
            wrong[template(bare(name)), stored, shape].append(name)
    for (module, stored, shape), names in wrong.items():
        details: dict[str, Fact] = {"expected": stored, "got": shape}
        yield Event("adapter-whole-misfit", "fails", details, places(names), module, len(names), MISMATCH)


def _shape_in_base(adapted: Adapted, name: str) -> Shape | None:
    """The shape that the base has under the name of a whole tensor, None where it has none."""
    module, _, leaf = bare(name).replace(".base_layer.", ".").rpartition(".")
    found = adapted.base.modules.get(module)
    if found is None or leaf not in ("weight", "bias"):
        return None
    return found.shape if leaf == "weight" else found.bias


def _lost_keys(adapted: Adapted) -> Iterator[Event]:
    """Modules that are to be loaded whole and are not in the file: PEFT looks each up and stops at a KeyError.

    It goes by the end of a module's name (``norm`` names ``input_layernorm`` too).
    """
    missing = [
        f"{PREFIX}{name}.{leaf}"
        for name, module in adapted.base.modules.items()
        if name.endswith(adapted.targets.saved or ("\0",)) and not _tied_head(adapted, module)
        for leaf, shape in (("weight", module.shape), ("bias", module.bias))
        if shape is not None and f"{PREFIX}{name}.{leaf}" not in adapted.parts.whole
    ]
    if missing:
        at = places(missing)
        error = f"KeyError: '{missing[0]}'"
        yield Event("adapter-saved-absent", "fails", {}, at, "", len(missing), error)


def _tied(adapted: Adapted, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """A pair on one end of a tied base: computed apart while loaded, but merging writes it into the shared weight."""
    ends = [name for name, module in targeted.items() if module.kind in ("head", "embedding")]
    if adapted.base.tied and ends and not adapted.config.get("ensure_weight_tying"):
        at = (Location(CONFIG, "/target_modules"),)
        yield Event("adapter-tied", "ok", {"modules": tuple(sorted(ends))}, at)


def _tied_head(adapted: Adapted, module: Module) -> bool:
    return adapted.base.tied and module.kind == "head"


def _dropped(adapted: Adapted, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """Pairs for modules that get none: PEFT drops them without a word.

    Where other layers of the same module are targets, or every layer has such a pair, they were trained and are lost;
    a single pair of another kind is a left-over.
    """
    stray: dict[str, list[str]] = defaultdict(list)
    for name in adapted.parts.pairs:
        if bare(name) not in targeted:
            stray[template(bare(name))].append(name)
    layers: dict[str, int] = defaultdict(int)
    for name in adapted.parts.pairs:
        layers[template(bare(name))] += 1
    kinds = {template(name) for name in targeted}
    most = max(layers.values(), default=0)
    for module, names in stray.items():
        outcome: Outcome = "corrupt" if module in kinds or len(names) == most else "ok"
        at = places([tensor_name(name, adapted.parts.pairs[name], "A") for name in names])
        yield Event("adapter-dropped-pair", outcome, {}, at, module, len(names))


def _biases(adapted: Adapted, targeted: Mapping[str, Module]) -> Iterator[Event]:
    """With ``bias: lora_only`` every target's bias was trained; one that is not in the file stays the base's."""
    if adapted.config.get("bias") != "lora_only":
        return
    missing = [
        f"{PREFIX}{name}.base_layer.bias"
        for name, module in targeted.items()
        if module.bias is not None
        and not {f"{PREFIX}{name}.base_layer.bias", f"{PREFIX}{name}.bias"} & adapted.parts.whole.keys()
    ]
    if missing:
        at = places(missing)
        yield Event("adapter-bias-absent", "corrupt", {}, at, "", len(missing))
