"""Bytes of a container that are too many or missing, where what belongs there is certain."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from ..checkpoint.nouns import Checkpoint, Defect, View
from ..model import Edit, FileDrop, FileWrite, Hit, MetaSet

_BOM = b"\xef\xbb\xbf"
_TOKENS = re.compile(r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")|,(?P<bracket>\s*[\]}])', re.DOTALL)
"""Strings, kept as they are, and superfluous commas with the bracket after them."""


def cut(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Cut off the bytes after the last tensor."""
    for found in _like(ckpt, hit, "trailing"):
        expected, got = found.facts["expected"], found.facts["got"]
        if type(expected) is int and type(got) is int and expected < got:
            yield FileDrop(found.at.file, expected, got)


def metadata_format(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write ``format: pt`` into every header where it is missing or is no known format."""
    for code in ("metadata-missing", "metadata-null", "metadata-format"):
        for found in _like(ckpt, hit, code):
            shard = ckpt.shards[found.at.file]
            was = shard.metadata.get("format") if shard.metadata else None
            yield MetaSet(shard.name, "format", "pt", was if isinstance(was, str) else None)


def without_mark(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write a JSON file without its byte order mark."""
    doc = ckpt.docs.get(hit.at[0].file)
    if doc is not None and doc.raw.startswith(_BOM):
        yield FileWrite(doc.name, doc.raw.removeprefix(_BOM), hashlib.sha256(doc.raw).hexdigest())


def first_value(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write a JSON file without what follows its first value, where that value is an object."""
    doc = ckpt.docs.get(hit.at[0].file)
    if doc is None or doc.raw.startswith(_BOM):
        return
    text = doc.raw.decode("utf-8", "strict").lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, Mapping) and value:
        yield FileWrite(doc.name, text[:end].encode() + b"\n", hashlib.sha256(doc.raw).hexdigest())


def without_commas(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write a JSON file without commas before a closing bracket, where nothing else is wrong with it."""
    doc = ckpt.docs.get(hit.at[0].file)
    if doc is None or not doc.raw:
        return
    try:
        text = _TOKENS.sub(lambda found: found["text"] or found["bracket"], doc.raw.decode("utf-8"))
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict):
        yield FileWrite(doc.name, text.encode(), hashlib.sha256(doc.raw).hexdigest())


def _like(ckpt: Checkpoint, hit: Hit, code: str) -> Iterator[Defect]:
    """Yield the defects of the hit's own cause: a finding folds them over all files."""
    for found in ckpt.defects:
        if found.code == code and found.facts == dict(hit.facts):
            yield found
