"""Layers that loaders fuse into one (q, k, v; gate, up): one layer has one scheme and one width."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Signature
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

_GROUPS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
_PART_OF = {part: name for name, parts in _GROUPS.items() for part in parts}
_METHODS = frozenset({"gptq", "awq", "compressed-tensors", "fp8", "modelopt", "modelopt_fp4"})
"""Those of which vLLM makes one layer. bitsandbytes has rules of its own, and MLX fuses nothing."""


def differing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield groups of which the parts in some layer differ in scheme, bits or group, where no loader model says so."""
    declared = next(context.ckpt.declared(), None)
    if declared is None or declared.method not in _METHODS:
        return
    told = {e.subject for reading in context.readings for e in reading.events if e.code == "fused-mix"}
    for name, parts in _GROUPS.items():
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
        if _PART_OF.get(last) == name and signature.stored.scheme:
            found.setdefault(parent, {}).setdefault(last, []).append(signature)
    return found


def _differing(context: Context, method: str, name: str, parts: list[list[Signature]]) -> Iterator[Hit]:
    kinds = {_kind(signature) for signatures in parts for signature in signatures}
    if len(kinds) == 1:
        return
    layers: dict[str, dict[str, Signature]] = {}
    for signatures in parts:
        for signature in signatures:
            for module in signature.modules:
                parent, _, last = module.rpartition(".")
                layers.setdefault(parent, {})[last] = signature
    causes: dict[tuple[str, ...], list[str]] = {}
    for parent, members in layers.items():
        if len({_kind(signature) for signature in members.values()}) > 1:
            causes.setdefault(tuple(_words(part, s) for part, s in sorted(members.items())), []).append(
                parent
            )
    for words, parents in causes.items():
        facts: dict[str, Fact] = {"method": method, "group": name, "parts": ", ".join(words)}
        template = next(iter(parts[0])).template.rpartition(".")[0]
        first = layers[parents[0]]
        at = tuple(
            Location(
                context.view.owner.get(f"{parents[0]}.{part}.{s.leaves[0].name}", ""),
                tensor=f"{parents[0]}.{part}.{s.leaves[0].name}",
            )
            for part, s in sorted(first.items())
        )
        yield Hit(facts, at, f"{template}.{name}", len(parents))


def _kind(signature: Signature) -> tuple[str, int | None, int | None]:
    stored = signature.stored
    return (
        (stored.scheme, stored.bits, stored.group if stored.group != stored.in_features else -1)
        if stored.quantized
        else ("dense", None, None)
    )


def _words(part: str, signature: Signature) -> str:
    stored = signature.stored
    if not stored.quantized:
        return f"{part} {stored.scheme}"
    return (
        f"{part} {stored.scheme}"
        + (f" {stored.bits}-bit" if stored.bits else "")
        + (f" by {stored.group}" if stored.group else "")
    )
