"""torchao: tensors flattened to ``_weight_qdata`` and its kin, which ``__metadata__`` tells how to put together."""

from __future__ import annotations

from collections.abc import Iterator

from ....checkpoint.nouns import Checkpoint, View
from ....formats.torchao import NAMES, PARTS
from ....model import Location, Outcome
from ...base import Event
from ..method import Read
from ..precision import cast, loaded_as, places

_AT = (Location("config.json", "/quantization_config/quant_type"),)
_TYPED = "AssertionError: Expected only one key 'default' in quant_type dictionary"


def read(ckpt: Checkpoint, view: View, dtype: str, missing: Outcome = "fails") -> Read:
    """Return how modules are loaded, and what is missing for putting them together (``missing``: a part of one).

    ``quantizers/quantizer_torchao.py`` of 5.23.0: a file that lists no ``tensor_names`` cannot be unflattened.
    """
    loaded = loaded_as(view, lambda signature, module: cast(signature, dtype), lambda signature: False)
    return Read(loaded, [*_untyped(ckpt), *_missing(view, missing), *_unlisted(ckpt, view)])


def _untyped(ckpt: Checkpoint) -> Iterator[Event]:
    block = ckpt.config.get("quantization_config")
    kind = block.get("quant_type") if isinstance(block, dict) else None
    if not isinstance(kind, dict) or "default" not in kind:
        yield Event("torchao-quant-type", "fails", {}, _AT, error=_TYPED)


def _missing(view: View, outcome: Outcome) -> Iterator[Event]:
    """Yield the parts of tensors that have another part."""
    for signature in view.signatures:
        found = [part for part in PARTS if signature.leaf(part)]
        if not signature.modules or not found or signature.stored.scheme == "torchao-packed":
            continue
        for part in set(PARTS).difference(found):
            at = places(view, signature.modules, part)
            yield Event("part-missing", outcome, {"leaf": part}, at, signature.template, signature.count)


def _unlisted(ckpt: Checkpoint, view: View) -> Iterator[Event]:
    """Yield the files with parts whose metadata does not say what they are parts of."""
    files = set()
    for signature in view.signatures:
        part = next((part for part in PARTS if signature.leaf(part)), None)
        if part is not None:
            files |= {view.owner.get(f"{module}.{part}", "") for module in signature.modules}
    bare = sorted(file for file in files if file and not _names(ckpt, file))
    if bare:
        yield Event("torchao-metadata", "fails", {}, tuple(map(Location, bare)), count=len(bare))


def _names(ckpt: Checkpoint, file: str) -> bool:
    shard = ckpt.shards.get(file)
    return shard is None or not shard.readable or NAMES in (shard.metadata or {})
