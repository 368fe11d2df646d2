"""Keys of adapter_config.json as the tensors of the adapter have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

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
    counts = Counter(map(_last, modules))
    listed = ckpt.object(CONFIG).get("target_modules")
    if len(set(counts.values())) == 1 and all(pair.a and pair.b for pair in modules.values()):
        kept = _kept(listed, modules) if isinstance(listed, list) else []
        more = sorted(counts.keys() - set(map(_last, kept)))
        yield from set_key(ckpt, CONFIG, "/target_modules", kept + more)


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def _kept(listed: Iterable[object], modules: Iterable[str]) -> list[str]:
    """Return the names of ``target_modules`` that mean one of ``modules``, as peft reads them."""
    names = [name for name in listed if isinstance(name, str)]
    return [name for name in names if any(m == name or m.endswith(f".{name}") for m in modules)]


def kind(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the ``peft_type`` LORA where every tensor is half of a LoRA pair."""
    found = _parts(ckpt)
    if found and found.pairs and not found.whole and all(pair.a and pair.b for pair in found.pairs.values()):
        yield from set_key(ckpt, CONFIG, "/peft_type", "LORA")
