"""Which tensors go to which file, and the bytes of the headers: the same tensors always give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..checkpoint.dtypes import BITS
from ..checkpoint.header import MAX_HEADER
from ..checkpoint.names import split
from .nouns import Chosen, OutShard, Piece, ResaveError, Tensor

_ALIGN = 8
_PER_SHARD = "tensor_names"
"""torchao keeps what its tensors mean in ``__metadata__`` of the file they are in."""


def shards(kept: Sequence[Chosen], limit: int | None, stem: str) -> tuple[OutShard, ...]:
    """Return the files to write. ``limit`` is their size in bytes, 0 for one file, None to keep the layout.

    All leaves of a module stay together, in the order of the source; a module larger than the limit has a file of
    its own. Raises ResaveError where a header would be longer than readers accept, or where metadata forbids it.
    """
    if limit is None:
        groups = [(item.tensors, item.metadata) for item in kept]
    else:
        metadata = _merged(kept)
        groups = [(group, metadata) for group in _filled([t for item in kept for t in item.tensors], limit)]
    total = len(groups)
    names = [f"{stem}-{number:05d}-of-{total:05d}.safetensors" for number in range(1, total + 1)]
    if total == 1:
        names = [f"{stem}.safetensors"]
    return tuple(_shard(name, *group) for name, group in zip(names, groups, strict=True))


def index(found: Sequence[OutShard], total_size: int) -> bytes:
    """Return the text of the index, as transformers writes it."""
    weight_map = {tensor: shard.name for shard in found for tensor in shard.tensors}
    value = {"metadata": {"total_size": total_size}, "weight_map": dict(sorted(weight_map.items()))}
    return (json.dumps(value, indent=2) + "\n").encode("utf-8")


def _filled(tensors: Sequence[Tensor], limit: int) -> list[tuple[Tensor, ...]]:
    modules: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        modules.setdefault(split(tensor.name)[0], []).append(tensor)
    groups: list[list[Tensor]] = [[]]
    used = 0
    for module in modules.values():
        size = sum(tensor.size for tensor in module)
        if limit and groups[-1] and used + size > limit:
            groups.append([])
            used = 0
        groups[-1] += module
        used += size
    return [tuple(group) for group in groups]


def _merged(kept: Sequence[Chosen]) -> Mapping[str, str]:
    """Return the metadata of files that become others: what none of them contradicts."""
    if any(_PER_SHARD in item.metadata for item in kept) and len(kept) > 1:
        raise ResaveError("torchao's tensors are described by the file they are in: leave --shard-size out")
    values: dict[str, set[str]] = {}
    for item in kept:
        for key, value in item.metadata.items():
            values.setdefault(key, set()).add(value)
    return {key: found.pop() for key, found in values.items() if len(found) == 1}


def _shard(name: str, tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> OutShard:
    ordered = sorted(tensors, key=lambda tensor: -BITS[tensor.dtype])  # so that every tensor is aligned
    offset = 0
    header: dict[str, object] = {"__metadata__": {"format": "pt", **dict(sorted(metadata.items()))}}
    for tensor in ordered:
        end = offset + tensor.size
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (offset, end)}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    length = -(-len(text) // _ALIGN) * _ALIGN
    if length > MAX_HEADER:
        raise ResaveError(
            f"{name}: its header would have {length:,} bytes, readers accept {MAX_HEADER:,}; use a smaller --shard-size"
        )
    head = length.to_bytes(8, "little") + text.ljust(length)
    return OutShard(name, head, joined(tensors_pieces(ordered)), tuple(tensor.name for tensor in ordered))


def tensors_pieces(tensors: Sequence[Tensor]) -> list[Piece]:
    """Return the pieces of all ``tensors`` in order."""
    return [piece for tensor in tensors for piece in tensor.pieces]


def joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return ``pieces`` with neighbours made one, so that a file is copied in few calls."""
    result: list[Piece] = []
    for piece in pieces:
        if result and result[-1].file == piece.file and result[-1].offset + result[-1].length == piece.offset:
            result[-1] = result[-1]._replace(length=result[-1].length + piece.length)
        else:
            result.append(piece)
    return tuple(result)
