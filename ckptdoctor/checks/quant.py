"""Declared against stored quantisation, where no loader model needs to be asked."""

from __future__ import annotations

from collections.abc import Iterator

from ..formats import registry
from ..formats.declared import preferred
from ..model import Hit, Location, Outcome, Skip, Target
from .base import Context, Params


def declared_bnb(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if config.json says bitsandbytes and some weights are stored so."""
    declared = preferred(context.ckpt)
    if (
        declared is None
        or declared.pointer != "/quantization_config"
        or not registry.declares(declared, "bnb-4bit", context.rulebook)
    ):
        return
    if any(signature.stored.scheme.startswith("bnb-") for signature in context.view.signatures):
        yield Hit({}, (Location("config.json", "/quantization_config"),))


def tensor_parallel(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if config.json says bitsandbytes and a target splits the model over several devices."""
    for hit in declared_bnb(context, params):
        if isinstance(hit, Hit):
            told: dict[str, Outcome] = {
                target.label: "fails" if _devices(target) > 1 else "ok" for target in context.targets
            }
            yield hit._replace(outcome=told)


_PACKED = frozenset(("ct-packed", "nvfp4-packed", "mxfp4-packed"))


def packed_embedding(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield a token embedding that compressed-tensors packed."""
    for signature in context.view.signatures:
        if signature.stored.scheme in _PACKED and signature.template.endswith("embed_tokens"):
            at = context.view.locate(signature, "weight_packed")
            yield Hit({"scheme": signature.stored.scheme}, at, signature.template, signature.count)


def _devices(target: Target) -> int:
    number = target.options.get("tp", 1)
    return number if type(number) is int else 1
