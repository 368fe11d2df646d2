"""Where a loader holds a weight as something other than what is stored: one event per signature and reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ...checkpoint.nouns import Signature, View
from ...model import Fact, Location, Target
from ..base import Event
from .facts import disagreement
from .modules import family

Held = dict[int, dict[str, Sequence[str]]]

UNDECLARED, SKIPPED = "undeclared", "skipped"
"""How a loader that sees no quantisation reads a weight: nothing declares it, or the skip list names it."""


def hold(view: View, read: Callable[[Signature, str], str], by_module: Callable[[Signature], bool]) -> Held:
    """Return scheme → modules for every signature; ``read`` gives the scheme of one module.

    Modules of a signature are asked one by one only where ``by_module`` says that names decide (a skip list).
    """
    held: Held = {}
    for number, signature in enumerate(view.signatures):
        if not signature.modules:
            continue
        if not by_module(signature):
            held[number] = {read(signature, signature.modules[0]): signature.modules}
            continue
        split: dict[str, list[str]] = {}
        for module in signature.modules:
            split.setdefault(read(signature, module), []).append(module)
        held[number] = dict(split)
    return held


def disagreements(
    view: View, held: Held, data: Mapping[str, object], target: Target, *, asked: str = "", skipped: str = ""
) -> Iterator[Event]:
    """Yield a ``disagreement`` event for modules held in another family than they are stored in.

    ``asked`` is the family the user's own flag asks for: getting that is what was wanted. ``skipped`` is the method
    that config.json declares and this loader passes over.
    """
    for number, split in held.items():
        signature = view.signatures[number]
        for scheme, modules in split.items():
            read, stored = family(scheme), family(signature.stored.scheme)
            if not stored or not read or stored == read or read == asked:
                continue
            if stored == "bnb-4bit" and signature.leaf("weight") is None:
                continue  # companions alone: nothing to be held
            codes = ""
            if read == UNDECLARED and stored not in _MODELLED:
                stored, codes = "quantized", _codes(signature)
            outcome, error = disagreement(data, codes or stored, read, target.version)
            if codes and outcome == "unknown":
                outcome, error = disagreement(data, stored, read, target.version)
            if outcome == "unknown" and stored not in (*_MODELLED, "integers", "float8", "quantized"):
                continue
            leaf = "weight" if signature.leaf("weight") else signature.leaves[0].name
            told: dict[str, Fact] = {"stored": stored, "read": read}
            if stored == "quantized":
                told["scheme"] = signature.stored.scheme
                if skipped:
                    told |= {"stored": "quantized by a method passed over", "method": skipped}
            yield Event(
                "disagreement",
                outcome,
                told,
                tuple(_places(view, modules, leaf)),
                signature.template,
                len(modules),
                error=error.replace("{module}", modules[0]) if error else None,
            )


def _codes(signature: Signature) -> str:
    """Name the codes that lie under ``weight`` itself, where a plain loader looks; "" when none do."""
    weight = signature.leaf("weight")
    dtype = weight.dtype if weight else ""
    names = {"I8": "int8 codes", "U8": "packed codes"}
    return "float8 codes" if dtype.startswith("F8_") else names.get(dtype, "")


def _places(view: View, modules: Sequence[str], leaf: str) -> Iterator[Location]:
    for module in modules[:100]:
        tensor = f"{module}.{leaf}" if module else leaf
        yield Location(view.owner.get(tensor, ""), tensor=tensor)


_MODELLED = frozenset({"dense", "bnb-4bit", "bnb-8bit"})


def schemes(held: Mapping[int, Mapping[str, Sequence[str]]]) -> set[str]:
    """Return every scheme something is held at."""
    return {scheme for split in held.values() for scheme in split}
