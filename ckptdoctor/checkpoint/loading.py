"""Source → Checkpoint: which files are read, in two batches, and what becomes of those that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from ..model import Location
from ..ruledata import Rulebook
from ..sources import pointer
from ..sources.base import MAX_FILES, Source, Span, Stat, Unavailable
from . import gguf, header, index, jsondoc
from .gc_paused import gc_paused
from .limits import MAX_DOCUMENT, MAX_DOCUMENTS, MAX_HEADERS, MAX_SHARDS, beyond
from .modules import build_view
from .nouns import Checkpoint, Defect, Shard

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (headers read, headers to read)."""

DOCS = frozenset(
    {
        "config.json",
        "generation_config.json",
        "quantize_config.json",
        "quant_config.json",
        "hf_quant_config.json",
        "adapter_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer_config.json",
        "params.json",
        "pytorch_model.bin.index.json",
        "quanto_qmap.json",
    }
)
"""The JSON files that are parsed, all of them in the root, besides ``*.safetensors.index.json``."""

_INDEXES = (".safetensors.index.json", "pytorch_model.bin.index.json")
_LIMITS = {"tokenizer_config.json": 8_000_000}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")

_GUESS = 65_536
"""Bytes read of a shard before its header's length is known."""
_PER_TENSOR = 150
"""Header bytes of one tensor, or a little more: real headers take 109 to 138. Where an index says how many tensors a
shard has, its header is guessed to come in one read."""
_MAX_GUESS = 1_000_000
_BATCH = 64
_FAST_FROM = 2_000_000
"""Bytes of headers from which on msgspec's start-up cost is repaid."""


def load(
    source: Source, rulebook: Rulebook, *, metadata_only: bool = False, progress: Progress | None = None
) -> Checkpoint:
    """Parse what is known of the checkpoint behind ``source``; every fault in it becomes a defect, none raises.

    With ``metadata_only``, weights that are absent or Git LFS pointers are taken as they are.
    """
    ckpt = Checkpoint(source, rulebook, source.entries(), metadata_only, build_view)
    with gc_paused():
        _load_docs(ckpt)
        for name, doc in ckpt.docs.items():
            if name.endswith(_INDEXES):
                found, defects = index.parse(doc, ckpt.entries)
                ckpt.defects += defects
                if found is not None:
                    ckpt.indexes[name] = found
        if metadata_only:
            _name_absent_shards(ckpt)
        _load_shards(ckpt, progress)
    ckpt.defects += gguf.defects(ckpt)
    ckpt.defects += _unopened(ckpt)
    return ckpt


def _name_absent_shards(ckpt: Checkpoint) -> None:
    """Take the weight files an index names as known by name where a metadata-only clone lacks them."""
    for found in ckpt.indexes.values():
        for file in found.files:
            if file.endswith(".safetensors") and not index.bad_path(file, ckpt.entries):
                ckpt.entries.setdefault(file, Stat(0, "absent"))


def _load_docs(ckpt: Checkpoint) -> None:
    wanted: list[Span] = []
    left = MAX_DOCUMENTS
    for name, known in ckpt.entries.items():
        if name not in DOCS and not ("/" not in name and name.endswith(_INDEXES)):
            continue
        if known.state == "pointer":
            ckpt.docs[name] = jsondoc.unread(name, "json-lfs-pointer")
        elif known.state == "here":
            limit = min(left, _LIMITS.get(name, MAX_DOCUMENT))
            if known.size > limit:
                ckpt.docs[name] = jsondoc.unread(name, "json-too-large", size=known.size, limit=limit)
                continue
            left -= known.size
            wanted.append(Span(name, 0, known.size))
    size = 0
    for span, data in zip(wanted, ckpt.source.read_many(wanted), strict=True):
        if isinstance(data, Unavailable):
            ckpt.defects.append(Defect("unreadable", Location(span.path), {"why": str(data)}))
            continue
        size += len(data)
        ckpt.docs[span.path] = jsondoc.parse(data, span.path)
    ckpt.bytes_read = ckpt.bytes_read._replace(json=size)
    for doc in ckpt.docs.values():
        ckpt.defects += doc.defects


def _load_shards(ckpt: Checkpoint, progress: Progress | None) -> None:
    names = _shard_names(ckpt)
    readable = [name for name in names if ckpt.entries[name].state == "here"]
    if len(readable) > MAX_SHARDS:
        what = "or more weight files, the last ones unread"
        ckpt.defects.append(beyond(readable[MAX_SHARDS], what, len(readable), MAX_SHARDS))
        readable = readable[:MAX_SHARDS]
    for name in names:
        ckpt.shards[name] = Shard(name, ckpt.entries[name].size)
    if ckpt.metadata_only:
        for name in _named_only(ckpt):
            ckpt.shards[name] = Shard(name, 0)
    expected = _guesses(ckpt)
    fast = False
    done = 0
    for start in range(0, len(readable), _BATCH):
        batch = readable[start : start + _BATCH]
        headers = _read_headers(ckpt, batch, expected)
        fast = fast or ckpt.bytes_read.headers >= _FAST_FROM
        for name, raw in headers:
            _parse_shard(ckpt, name, raw, fast)
            done += 1
            if progress is not None:
                progress(done, len(readable))


def _shard_names(ckpt: Checkpoint) -> list[str]:
    """Return every safetensors file of the root and those below it that an index names."""
    named = {
        file for found in ckpt.indexes.values() for file in set(found.weight_map.values()) if "/" in file
    }
    return [
        name for name in ckpt.entries if name.endswith(".safetensors") and ("/" not in name or name in named)
    ]


def _named_only(ckpt: Checkpoint) -> list[str]:
    """Return the safetensors files that an index names and that are not here, not even as a pointer."""
    return [
        file
        for found in ckpt.indexes.values()
        for file in found.files
        if file.endswith(".safetensors") and file not in ckpt.entries and not index.bad_path(file, {})
    ]


def _guesses(ckpt: Checkpoint) -> dict[str, int]:
    """Return how many bytes to read of each shard that an index names, for its header to be among them."""
    counts = Counter(file for found in ckpt.indexes.values() for file in found.weight_map.values())
    return {file: min(_MAX_GUESS, 4096 + _PER_TENSOR * count) for file, count in counts.items()}


def _read_headers(
    ckpt: Checkpoint, names: list[str], expected: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """Return the first ``8 + N`` bytes of each file, fetched in two batches."""
    heads: dict[str, bytes] = {}
    rest: list[Span] = []
    used = ckpt.bytes_read.headers
    guesses = [Span(name, 0, min(expected.get(name, _GUESS), ckpt.entries[name].size)) for name in names]
    for name, head in zip(names, ckpt.source.read_many(guesses), strict=True):
        if isinstance(head, Unavailable):
            ckpt.defects.append(Defect("unreadable", Location(name), {"why": str(head)}))
            continue
        length = header.header_length(head, ckpt.entries[name].size)
        used += max(len(head), header.PREFIX + (length or 0))
        if used > MAX_HEADERS:
            what = "bytes of headers up to and with its own"
            ckpt.defects.append(beyond(name, what, used, MAX_HEADERS))
            continue
        heads[name] = head
        if length is not None and header.PREFIX + length > len(head):
            rest.append(Span(name, len(head), header.PREFIX + length - len(head)))
    for span, tail in zip(rest, ckpt.source.read_many(rest) if rest else [], strict=True):
        if isinstance(tail, bytes):
            heads[span.path] += tail
    count = sum(map(len, heads.values()))
    ckpt.bytes_read = ckpt.bytes_read._replace(headers=ckpt.bytes_read.headers + count)
    return iter(heads.items())


def _parse_shard(ckpt: Checkpoint, name: str, raw: bytes, fast: bool) -> None:
    known = ckpt.entries[name]
    stated = pointer.parse(raw) if known.size < pointer.MAX_SIZE else None
    if stated is not None and ckpt.metadata_only:
        ckpt.shards[name] = Shard(name, stated.size)
        return
    shard, defects = header.parse(raw, known.size, name, fast=fast)
    ckpt.shards[name] = shard
    ckpt.defects += defects


def _unopened(ckpt: Checkpoint) -> Iterator[Defect]:
    """Yield the files that a loader may want and that are not ordinary files here."""
    for name, known in ckpt.entries.items():
        if known.state == "foreign":
            yield Defect("foreign-journal", Location(name))
        elif known.state == "beyond":
            yield beyond("", "or more files and folders", MAX_FILES + 1, MAX_FILES)
        if name not in ckpt.shards and name not in DOCS and not name.endswith((*_INDEXES, *_WEIGHTS)):
            continue
        if known.state == "pointer" and name.endswith(_WEIGHTS) and not ckpt.metadata_only:
            facts: Mapping[str, str | int | None] = {"size": known.size, "sha256": known.sha256}
            yield Defect("lfs-pointer", Location(name), facts)
        elif known.state in ("link-out", "unreadable", "not-a-file"):
            yield Defect(known.state, Location(name))
