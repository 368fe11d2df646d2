"""Keys of adapter_config.json as the tensors of the adapter have them."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.adapter.tensors import CONFIG, WEIGHTS, Parts, parts
from ..model import Edit, Hit
from .base import set_key


def _parts(ckpt: Checkpoint) -> Parts | None:
    shard = ckpt.shards.get(WEIGHTS)
    return parts(shard) if shard is not None and shard.readable else None


def rank(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Set ``r`` to the rank that every pair has."""
    found = _parts(ckpt)
    pairs = found.pairs.values() if found else ()
    ranks = {size for pair in pairs for size in (pair.a and pair.a[0], pair.b and pair.b[1])}
    if len(ranks) == 1 and (size := ranks.pop()):
        yield from set_key(ckpt, CONFIG, "/r", size)


def targets(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """List in ``target_modules`` what has pairs in every layer, and nothing else."""
    found = _parts(ckpt)
    modules = found.pairs if found else {}
    last = dict.fromkeys(module.rpartition(".")[2] for module in modules)
    counts = {name: sum(m.rpartition(".")[2] == name for m in modules) for name in last}
    listed = ckpt.object(CONFIG).get("target_modules")
    old = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    if len(set(counts.values())) == 1 and all(pair.a and pair.b for pair in modules.values()):
        kept = [name for name in old if any(m == name or m.endswith(f".{name}") for m in modules)]
        more = [name for name in sorted(last) if not any(name == k.rpartition(".")[2] for k in kept)]
        yield from set_key(ckpt, CONFIG, "/target_modules", kept + more)


def kind(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the ``peft_type`` LORA where every tensor is half of a LoRA pair."""
    found = _parts(ckpt)
    if found and found.pairs and not found.whole and all(pair.a and pair.b for pair in found.pairs.values()):
        yield from set_key(ckpt, CONFIG, "/peft_type", "LORA")
