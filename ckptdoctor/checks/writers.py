"""Which writer left a checkpoint like this: signatures of known defects of tools that save models."""

from __future__ import annotations

from collections.abc import Iterator

from ..loaders.shared.modules import family
from ..model import MAX_LOCATIONS, Hit, Location, Skip
from .base import Context, Params

_CONFIGS = ("config.json", "adapter_config.json")


def without_configs(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield whole 16-bit models beside the files named in ``beside``, with neither config file."""
    here, view = context.ckpt.entries, context.view
    beside = str(params["beside"]).split()
    if any(name in here for name in _CONFIGS) or not all(name in here for name in beside):
        return
    stacks = [signature for signature in view.signatures if "*" in signature.template]
    whole = any(signature.template.endswith("embed_tokens") for signature in view.signatures)
    dense = all(family(signature.stored.scheme) == "dense" for signature in stacks)
    if whole and stacks and dense and not any("lora_" in signature.template for signature in stacks):
        yield Hit({}, (Location(""),))


def never_stored(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield models of ``model_type`` that have modules ``beside`` in every layer and ``absent`` in none."""
    if context.ckpt.config.get("model_type") not in str(params["model_type"]).split():
        return
    leaves = {signature.template.rpartition(".")[2] for signature in context.view.signatures}
    absent = str(params["absent"]).split()
    if str(params["beside"]) in leaves and not leaves & set(absent):
        yield Hit({"absent": ", ".join(absent)}, (Location("config.json", "/model_type"),))


def ghosts(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield index entries that end in ``suffix`` where no file has any tensor of that ending."""
    index, suffix = context.ckpt.index, str(params["suffix"])
    if index is None or any(leaf.name == suffix for s in context.view.signatures for leaf in s.leaves):
        return
    if not all(shard.readable for shard in context.ckpt.shards.values()):
        return
    named = [tensor for tensor in index.weight_map if tensor.endswith(f".{suffix}")]
    if named and context.view.signatures:
        places = tuple(Location(index.file, note=tensor) for tensor in named[:MAX_LOCATIONS])
        yield Hit({"suffix": suffix}, places, count=len(named))
