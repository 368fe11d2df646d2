"""Layers that loaders fuse into one (q, k, v; gate, up): one layer has one scheme and one width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..checkpoint.nouns import Signature
from ..formats import registry
from ..formats.declared import preferred
from ..model import Fact, Hit, Location, Skip
from ..skiplists.matching import FUSED, PART_OF
from .base import Context, Params


def differing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield groups of which the parts in some layer differ in scheme, bits or group, where no loader model says so."""
    declared = preferred(context.ckpt)
    format_ = registry.of(declared, context.rulebook) if declared is not None else registry.UNKNOWN
    if declared is None or not format_.states(declared) or not format_.data.get("fused"):
        return
    told = {e.subject for reading in context.readings for e in reading.events if e.code == "fused-mix"}
    for name, parts in FUSED.items():
        if name in told:
            continue
        for parent, members in _members(context, name).items():
            if ".experts." in f"{parent}." or len(members) < 2:
                continue
            yield from _differing(
                context, declared.method, name, [members[part] for part in parts if part in members]
            )


def _members(context: Context, name: str) -> dict[str, dict[str, list[Signature]]]:
    """Return parent template → part → its signatures."""
    found: dict[str, dict[str, list[Signature]]] = {}
    for signature in context.view.signatures:
        parent, _, last = signature.template.rpartition(".")
        if PART_OF.get(last) == name and signature.stored.scheme:
            found.setdefault(parent, {}).setdefault(last, []).append(signature)
    return found


def _differing(context: Context, method: str, name: str, parts: list[list[Signature]]) -> Iterator[Hit]:
    if _alike(signature for signatures in parts for signature in signatures):
        return
    layers: dict[str, dict[str, Signature]] = {}
    for signatures in parts:
        for signature in signatures:
            for module in signature.modules:
                parent, _, last = module.rpartition(".")
                layers.setdefault(parent, {})[last] = signature
    causes: dict[str, list[str]] = {}
    for parent, members in layers.items():
        if not _alike(members.values()):
            words = ", ".join(f"{part} {_words(signature)}" for part, signature in sorted(members.items()))
            causes.setdefault(words, []).append(parent)
    template = parts[0][0].template.rpartition(".")[0]
    for words, parents in causes.items():
        facts: dict[str, Fact] = {"method": method, "group": name, "parts": words}
        at = tuple(
            _place(context, f"{parents[0]}.{part}", s) for part, s in sorted(layers[parents[0]].items())
        )
        yield Hit(facts, at, f"{template}.{name}", len(parents))


def _alike(signatures: Iterable[Signature]) -> bool:
    """Whether nothing tells them apart; a number that their shapes do not settle tells nothing."""
    kinds = {_kind(signature) for signature in signatures}
    return all(len({kind[at] for kind in kinds} - {None}) < 2 for at in range(3))


def _kind(signature: Signature) -> tuple[str, int | None, int | None]:
    stored = signature.stored
    if not stored.quantized:
        return "dense", None, None
    return stored.scheme, stored.bits, -1 if stored.group == stored.in_features else stored.group


def _words(signature: Signature) -> str:
    stored = signature.stored
    bits = f" {stored.bits}-bit" if stored.quantized and stored.bits else ""
    return stored.scheme + bits + (f" by {stored.group}" if stored.quantized and stored.group else "")


def _place(context: Context, module: str, signature: Signature) -> Location:
    tensor = f"{module}.{signature.leaves[0].name}"
    return Location(context.view.owner.get(tensor, ""), tensor=tensor)
