"""torchao: tensors flattened to ``_weight_qdata`` and its kin, which ``__metadata__`` tells how to put together."""

from __future__ import annotations

from ....checkpoint.nouns import Checkpoint, View
from ....model import Location, Outcome
from ...base import Event
from ..modules import family
from ..precision import Held

_AT = (Location("config.json", "/quantization_config/quant_type"),)
_TYPED = "AssertionError: Expected only one key 'default' in quant_type dictionary"
_PARTS = ("_weight_qdata", "_weight_scale")


def read(ckpt: Checkpoint, view: View, dtype: str, missing: Outcome = "fails") -> tuple[Held, list[Event]]:
    """Return how modules are held, and what is missing for putting them together (``missing``: a part of one).

    ``quantizers/quantizer_torchao.py`` of 5.23.0: a file that lists no ``tensor_names`` cannot be unflattened.
    """
    held: Held = {}
    events: list[Event] = []
    block = ckpt.config.get("quantization_config")
    kind = block.get("quant_type") if isinstance(block, dict) else None
    if not isinstance(kind, dict) or "default" not in kind:
        events.append(Event("torchao-quant-type", "fails", {}, _AT, error=_TYPED))
    flat = set()
    for index, signature in enumerate(view.signatures):
        if not signature.modules:
            continue
        dense = family(signature.stored.scheme) == "dense"
        held[index] = {(dtype if dense and dtype else signature.stored.scheme): signature.modules}
        found = [part for part in _PARTS if signature.leaf(part)]
        if not found:
            continue
        flat |= {view.owner.get(f"{module}.{found[0]}", "") for module in signature.modules}
        for part in set(_PARTS).difference(found) if signature.stored.scheme != "torchao-packed" else ():
            at = tuple(
                Location(view.owner.get(f"{m}.{part}", ""), tensor=f"{m}.{part}")
                for m in signature.modules[:100]
            )
            events.append(
                Event("part-missing", missing, {"leaf": part}, at, signature.template, signature.count)
            )
    bare = sorted(file for file in flat if file and not _names(ckpt, file))
    if bare:
        events.append(
            Event("torchao-metadata", "fails", {}, tuple(Location(file) for file in bare), count=len(bare))
        )
    return held, events


def _names(ckpt: Checkpoint, file: str) -> bool:
    shard = ckpt.shards.get(file)
    return shard is None or not shard.readable or "tensor_names" in (shard.metadata or {})
