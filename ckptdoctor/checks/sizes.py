"""Byte arithmetic where no header could be read: what files weigh beside what the index says they hold."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Hit, Location, Skip
from .base import Context, Params


def header_cost(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Compare the bytes the files have over ``total_size`` with what headers cost, per tensor.

    In 54 complete real checkpoints the difference lies between 109 and 138 bytes per tensor; ``least`` and ``most``
    are generous bounds around that. Silent where a header was read (then truncation is known exactly).
    """
    index = context.ckpt.index
    if index is None or not index.total_size or not index.weight_map:
        return
    shards = [context.ckpt.shards.get(name) for name in index.files]
    known = [shard for shard in shards if shard is not None and shard.size > 0]
    if len(known) < len(shards) or any(shard.readable for shard in known):
        return
    total = sum(shard.size for shard in known)
    cost = (total - index.total_size) // len(index.weight_map)  # whole: a stated size may be beyond any float
    if not int(str(params["least"])) <= cost <= int(str(params["most"])):
        facts = {
            "files": total,
            "total_size": index.total_size,
            "tensors": len(index.weight_map),
            "cost": cost,
        }
        yield Hit(facts, (Location(index.file, "/metadata/total_size"),))
