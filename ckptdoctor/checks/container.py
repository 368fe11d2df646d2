"""Defects the parsers met: bytes that are not a header, JSON that is not JSON, index entries that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..checkpoint.names import Templates, join, split
from ..checkpoint.nouns import Defect, TensorEntry
from ..model import Facts, Hit, Location, Skip
from .base import Context, Params

_NOT_FACTS = frozenset({"code", "keep"})
_UNPARSED = frozenset({"json-empty", "json-lfs-pointer", "json-not-utf8", "json-invalid", "json-extra-data"})
_SIDE_DOCUMENTS = frozenset(
    {
        "generation_config.json",
        "params.json",
        "preprocessor_config.json",
        "processor_config.json",
        "pytorch_model.bin.index.json",
        "tokenizer_config.json",
    }
)
"""transformers and vLLM catch the error for the first of them, and do not open the others to load weights."""


def defect(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the defects called ``code`` whose facts equal the other parameters.

    With ``keep`` only the facts it lists make the cause, so that the same accident in many files is one finding.
    """
    templates = Templates()
    for found in _wanted(context, params):
        keep = params.get("keep")
        if isinstance(keep, list | tuple):
            kept = {name: value for name, value in found.facts.items() if name in keep}
            yield Hit(kept, (found.at,), count=_count(found))
        else:
            facts = {name: value for name, value in found.facts.items() if name != "more"}
            yield Hit(facts, (found.at,), _template(found.at.tensor, templates), _count(found))


def document(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the defects called ``code`` of JSON files; which file it is belongs to the cause (fact ``document``)."""
    for found in _wanted(context, params):
        if not _passed_over(found):
            facts: Facts = {**found.facts, "document": found.at.file}
            yield Hit(facts, (found.at,), count=_count(found))


def side_document(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield JSON files that cannot be read and without which loaders of models go on."""
    for found in context.ckpt.defects:
        if _passed_over(found):
            yield Hit({"document": found.at.file, "problem": found.code.removeprefix("json-")}, (found.at,))


def repeated(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield names given twice in a header; ``readable`` is whether the entries a reader keeps still cover the file."""
    templates = Templates()
    for found in _wanted(context, params):
        shard = context.ckpt.shards[found.at.file]
        readable = found.facts["name"] != "__metadata__" and _tiles(
            shard.tensors.values(), shard.size - 8 - shard.header_len
        )
        facts: Facts = {"readable": readable, "name": found.facts["name"]}
        yield Hit(facts, (found.at,), _template(found.at.tensor, templates), _count(found))


def unopened(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the files with defect ``code`` that were not opened; the rest is blind where a weight file is concerned."""
    for found in _wanted(context, params):
        yield Hit({}, (found.at,))
        if found.at.file in context.view.files:
            yield Skip("", "blind", f"{found.at.file} was not opened")


def beyond_limits(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield what goes beyond a limit of ours: it was not judged, and no verdict about it can be had."""
    of_view = [context.view.beyond] if context.view.beyond else []
    for found in (*_wanted(context, {"code": "beyond-limit"}), *of_view):
        document = found.at.file or "the directory"
        yield Hit({**found.facts, "document": document}, (found.at,) if found.at.file else ())
        has, limit = f"{found.facts['got']} {found.facts['what']}", found.facts["limit"]
        yield Skip("", "blind", f"{document} has {has}: ckptdoctor judges up to {limit}")


def absent(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield weight files of which only name and size are known, unless that was all that was asked for."""
    if context.ckpt.metadata_only:
        return
    for name in context.view.files:
        known = context.ckpt.entries.get(name)
        if known is not None and known.state == "absent":
            yield Hit({}, (Location(name),))
            yield Skip("", "blind", f"the bytes of {name} are not here")


def _wanted(context: Context, params: Params) -> Iterator[Defect]:
    wanted = {key: value for key, value in params.items() if key not in _NOT_FACTS}
    for found in context.ckpt.defects:
        if found.code == params["code"] and all(
            found.facts.get(key) == value for key, value in wanted.items()
        ):
            yield found


def _passed_over(found: Defect) -> bool:
    return found.at.file in _SIDE_DOCUMENTS and found.code in _UNPARSED


def _count(found: Defect) -> int:
    """Return how many defects this one stands for: the last of a hundred says how many more there are."""
    more = found.facts.get("more")
    return 1 + more if isinstance(more, int) else 1


def _template(tensor: str | None, templates: Templates) -> str:
    if not tensor:
        return ""
    module, leaf = split(tensor)
    return join(templates.of(module), leaf)


def _tiles(tensors: Iterable[TensorEntry], size: int) -> bool:
    """Whether the spans of ``tensors`` cover ``size`` bytes without a gap."""
    cursor = 0
    for begin, end in sorted(tensor.data_offsets for tensor in tensors):
        if begin != cursor:
            return False
        cursor = end
    return cursor == size
