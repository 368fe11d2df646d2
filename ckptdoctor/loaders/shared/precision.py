"""Where a loader holds a weight as something other than what is stored: one event per signature and reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...checkpoint.nouns import Signature, View
from ...model import MAX_LOCATIONS, Fact, Location
from ..base import Event, LoadedAs, Run
from ..facts import disagreement
from .modules import family

UNDECLARED, SKIPPED = "undeclared", "skipped"
"""How a loader that sees no quantisation reads a weight: nothing declares it, or the skip list names it."""


def loaded_as(
    view: View, scheme_of: Callable[[Signature, str], str], by_module: Callable[[Signature], bool]
) -> LoadedAs:
    """Return scheme → modules for every signature; ``scheme_of`` gives the scheme one module is loaded as.

    Modules of a signature are asked one by one only where ``by_module`` says that names decide (a skip list).
    """
    found: LoadedAs = {}
    for number, signature in enumerate(view.signatures):
        if not signature.modules:
            continue
        if not by_module(signature):
            found[number] = {scheme_of(signature, signature.modules[0]): signature.modules}
            continue
        split: dict[str, list[str]] = {}
        for module in signature.modules:
            split.setdefault(scheme_of(signature, module), []).append(module)
        found[number] = dict(split)
    return found


def disagreements(run: Run, loaded: LoadedAs, *, asked: str = "", skipped: str = "") -> Iterator[Event]:
    """Yield a ``disagreement`` event for modules loaded as another family than they are stored in.

    ``asked`` is the family the user's own flag asks for: getting that is what was wanted. ``skipped`` is the method
    that config.json declares and this loader passes over.
    """
    for number, split in loaded.items():
        signature = run.view.signatures[number]
        for scheme, modules in split.items():
            read, stored = family(scheme), family(signature.stored.scheme)
            if stored and read and read not in (stored, asked) and not _companions_alone(signature, stored):
                yield from _disagreement(run, signature, modules, stored, read, skipped)


def _companions_alone(signature: Signature, stored: str) -> bool:
    return stored == "bnb-4bit" and signature.leaf("weight") is None


def _disagreement(
    run: Run, signature: Signature, modules: Sequence[str], stored: str, read: str, skipped: str
) -> Iterator[Event]:
    codes = ""
    foreign = signature.stored.quantized and read in _BNB
    if (read == UNDECLARED or foreign) and stored not in _MODELLED:
        stored, codes = "quantized", _codes(signature)
    outcome, error = disagreement(run.data, codes or stored, read, run.version)
    if codes and outcome == "unknown":
        outcome, error = disagreement(run.data, stored, read, run.version)
    if outcome == "unknown" and stored not in (*_MODELLED, "integers", "float8", "quantized"):
        return
    leaf = "weight" if signature.leaf("weight") else signature.leaves[0].name
    named: dict[str, Fact] = {"stored": stored, "read": read}
    if stored == "quantized":
        named["scheme"] = signature.stored.scheme
        if foreign:
            named["stored"] = "another scheme"
        if skipped:
            named |= {"stored": "quantized by a method passed over", "method": skipped}
    yield Event(
        "disagreement",
        outcome,
        named,
        places(run.view, modules, leaf),
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


def places(view: View, modules: Sequence[str], leaf: str) -> tuple[Location, ...]:
    """Return where ``leaf`` of the first modules is; one that is missing has no file."""
    tensors = [f"{module}.{leaf}" if module else leaf for module in modules[:MAX_LOCATIONS]]
    return tuple(Location(view.owner.get(tensor, ""), tensor=tensor) for tensor in tensors)


def cast(signature: Signature, dtype: str) -> str:
    """Return the scheme of what is copied as it is, but for floats, which become ``dtype`` ("": stay what they are)."""
    return dtype if dtype and family(signature.stored.scheme) == "dense" else signature.stored.scheme


_BNB = ("bnb-4bit", "bnb-8bit")
_MODELLED = frozenset({"dense", *_BNB})
