"""bitsandbytes' quant_state: the ~170 bytes of JSON beside every 4-bit weight, the only place with its real shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..sources.base import Span, Unavailable, is_remote
from .names import Templates, join
from .nouns import Checkpoint, Leaf, QuantState

MAX_BLOB = 65_536
MAX_TOTAL = 4 * 1024 * 1024
"""Bytes read for one view; above that one blob stands for all like it in its shard."""

_KNOWN = ("quant_type", "blocksize", "dtype", "shape", "nested_blocksize", "nested_dtype", "nested_offset")
"""bitsandbytes/functional.py, QuantState.valid_qs_keys and as_dict(packed=True)."""


def parse(blob: bytes) -> QuantState:
    """Parse the bytes of a ``weight.quant_state.bitsandbytes__*`` tensor; ``defect`` says what is wrong."""
    try:
        found = json.loads(blob.decode("utf-8"))
    except UnicodeDecodeError:
        return QuantState(defect="not UTF-8")
    except (ValueError, RecursionError):
        return QuantState(defect="not JSON")
    if not isinstance(found, dict):
        return QuantState(defect="not an object")
    shape = found.get("shape")
    if shape is not None and not _is_shape(shape):
        return QuantState(defect="shape is not a list of sizes")
    scalars = {key: value for key, value in found.items() if key in _KNOWN and key != "shape"}
    if any(isinstance(value, (list, dict)) for value in scalars.values()):
        return QuantState(defect="a value is not a scalar")
    return QuantState(
        quant_type=found.get("quant_type"),
        blocksize=found.get("blocksize"),
        dtype=found.get("dtype"),
        shape=None if shape is None else tuple(shape),
        nested_blocksize=found.get("nested_blocksize"),
        nested_dtype=found.get("nested_dtype"),
        has_offset="nested_offset" in found,
        zero_offset=found.get("nested_offset") == 0 and found.get("nested_offset") is not False,
        extra=tuple(sorted(key for key in found if key not in _KNOWN)),
    )


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) < 16 and all(type(dim) is int and dim >= 0 for dim in value)


class Blob(NamedTuple):
    """One quant_state tensor: whose it is, what its like share, and where its bytes are."""

    module: str
    kin: tuple[object, ...]
    span: Span | None


def read_states(
    ckpt: Checkpoint, owner: Mapping[str, str], blobs: Iterable[tuple[str, Leaf]]
) -> tuple[dict[str, QuantState], bool]:
    """Return the quantisation state of every module that has one, and whether some were inferred from their like.

    All are read while they fit ``MAX_TOTAL``; beyond, and over a network, one per template, shard and length speaks for
    the rest.
    """
    wanted = list(_locate(ckpt, owner, blobs))
    total = sum(blob.span.length or 0 for blob in wanted if blob.span)
    sampled = total > MAX_TOTAL or is_remote(ckpt.source)
    chosen = list({blob.kin: blob for blob in reversed(wanted)}.values()) if sampled else wanted
    readable = _affordable(blob for blob in chosen if blob.span)
    found: dict[tuple[object, ...] | str, QuantState] = {}
    for blob, state in _parsed(ckpt, readable):
        found[blob.kin if sampled else blob.module] = state
    unread = QuantState(defect="unreadable")
    states = {blob.module: found.get(blob.kin if sampled else blob.module, unread) for blob in wanted}
    return states, sampled


def _parsed(ckpt: Checkpoint, blobs: list[Blob]) -> Iterator[tuple[Blob, QuantState]]:
    """Yield the blobs that could be read with what they say; equal bytes are parsed once."""
    cache: dict[bytes, QuantState] = {}
    spans = [blob.span for blob in blobs if blob.span]
    for blob, data in zip(blobs, ckpt.source.read_many(spans) if spans else [], strict=True):
        if isinstance(data, Unavailable):
            continue
        ckpt.bytes_read = ckpt.bytes_read._replace(micro=ckpt.bytes_read.micro + len(data))
        if data not in cache:
            cache[data] = parse(data)
        yield blob, cache[data]


def _affordable(blobs: Iterable[Blob]) -> list[Blob]:
    """Return the first blobs that fit the budget."""
    kept, left = [], MAX_TOTAL
    for blob in blobs:
        left -= (blob.span.length or 0) if blob.span else 0
        if left < 0:
            break
        kept.append(blob)
    return kept


def _locate(ckpt: Checkpoint, owner: Mapping[str, str], blobs: Iterable[tuple[str, Leaf]]) -> Iterator[Blob]:
    """Find the bytes of each blob; no span when its header is unread or its offsets are of no use."""
    templates = Templates()
    for module, leaf in blobs:
        tensor = join(module, leaf.name)
        shard = ckpt.shards.get(owner.get(tensor, ""))
        entry = shard.tensors.get(tensor) if shard and shard.readable else None
        if shard is None or entry is None:
            yield Blob(module, (), None)
            continue
        begin, end = entry.data_offsets
        start = 8 + shard.header_len + begin
        length = end - begin
        fits = 0 <= begin < end and length <= MAX_BLOB and start + length <= shard.size
        span = Span(shard.name, start, length) if fits else None
        yield Blob(module, (templates.of(module), shard.name, length), span)
