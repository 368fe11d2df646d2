"""Two checkpoints → their difference. Headers and JSON are read; values only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..checkpoint.names import Templates
from ..checkpoint.nouns import Checkpoint, Signature, View
from ..resaving.choose import files_of
from ..resaving.nouns import ResaveError
from ..sources.alike import alike
from ..sources.base import Span, Unavailable
from .documents import documents
from .nouns import Changed, Difference, Group, Module, Side, Values, renamed
from .words import words

Progress = Callable[[int, int], None]
"""Called with (bytes compared, bytes to compare)."""
_PREFIXES = (
    ("", ""),
    ("model.", "model.language_model."),
    ("model.", "language_model.model."),
    ("", "model."),
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("model.", ""),
)
"""Beginnings of names that stand for one another: transformers 4 and 5, a model and its text part, a base model."""


def compared(left: Checkpoint, right: Checkpoint, progress: Progress | None = None) -> Difference:
    """Return how ``right`` differs from ``left``; ``progress`` says that values are to be compared too.

    Raises ResaveError where a weight file cannot be read.
    """
    one, two = _view(left), _view(right)
    ours, theirs = _modules(one), _modules(two)
    prefix = _prefix(ours, theirs)
    named = {renamed(name, prefix): name for name in ours}
    changed, lone = _changes(ours, theirs, named)
    difference = Difference(
        _side(left, one),
        _side(right, two),
        (),
        None if prefix == ("", "") else prefix,
        changed,
        lone,
        _groups((name, theirs[name].template) for name in theirs if name not in named),
        documents(left, right),
        _values(left, right, one, two, prefix, progress) if progress else None,
    )
    return difference._replace(words=words(difference, ours, theirs))


def _view(ckpt: Checkpoint) -> View:
    files = files_of(ckpt)
    for file in files:
        if not ckpt.shards[file].readable:
            raise ResaveError(f"{ckpt.label}/{file}: its header cannot be read; `ckptdoctor check` says why")
    if not files:
        raise ResaveError(f"{ckpt.label}: no safetensors weights here")
    return ckpt.view(files)


def _modules(view: View) -> dict[str, Module]:
    return {
        name: noun
        for signature in view.signatures
        for noun in [_noun(signature)]
        for name in signature.modules
    }


def _noun(signature: Signature) -> Module:
    stored = signature.stored
    leaves = tuple((leaf.name, leaf.dtype, leaf.shape) for leaf in signature.leaves)
    weight = signature.leaf("weight")
    shape: tuple[int | None, int | None] | None = None
    if stored.quantized:
        shape = (stored.out_features, stored.in_features)
    elif weight is not None and len(weight.shape) == 2:
        shape = (weight.shape[0], weight.shape[1])
    scheme = stored.scheme or "+".join(dict.fromkeys(leaf.dtype.lower() for leaf in signature.leaves))
    return Module(signature.template, scheme, leaves, shape, stored.quantized)


def _prefix(ours: Mapping[str, Module], theirs: Mapping[str, Module]) -> tuple[str, str]:
    """Return the pair under which most names are the same; only a plain win over leaving them counts."""
    best, most = ("", ""), sum(name in theirs for name in ours)
    if 2 * most >= min(len(ours), len(theirs)):
        return best
    for pair in _PREFIXES[1:]:
        count = sum(renamed(name, pair) in theirs for name in ours)
        if count > most:
            best, most = pair, count
    return best


def _changes(
    ours: Mapping[str, Module], theirs: Mapping[str, Module], named: Mapping[str, str]
) -> tuple[tuple[Changed, ...], tuple[Group, ...]]:
    folded: dict[tuple[Module, Module], list[str]] = {}
    lone = []
    for name, own in named.items():
        left, right = ours[own], theirs.get(name)
        if right is None:
            lone.append((own, left.template))
        elif left.leaves != right.leaves or left.scheme != right.scheme:
            folded.setdefault((left, right), []).append(own)
    changed = tuple(Changed(pair[0].template, tuple(names), *pair) for pair, names in folded.items())
    return changed, _groups(lone)


def _groups(found: Iterable[tuple[str, str]]) -> tuple[Group, ...]:
    """Return (name, template) folded by template."""
    folded: dict[str, list[str]] = {}
    for name, template in found:
        folded.setdefault(template, []).append(name)
    return tuple(Group(template, tuple(names)) for template, names in folded.items())


def _side(ckpt: Checkpoint, view: View) -> Side:
    entries = [entry for file in view.files for entry in ckpt.shards[file].tensors.values()]
    size = sum(entry.data_offsets[1] - entry.data_offsets[0] for entry in entries)
    schemes = {s.stored.scheme: s.stored.quantized for s in view.signatures if s.stored.scheme}
    ordered = tuple(sorted(schemes, key=lambda scheme: (not schemes[scheme], scheme)))
    return Side(ckpt.label, len(entries), size, view.files, ordered)


def _values(
    left: Checkpoint, right: Checkpoint, one: View, two: View, prefix: tuple[str, str], progress: Progress
) -> Values:
    """Compare the bytes of every tensor that both have, with one dtype and shape, in the order of the first's files."""
    pairs: list[tuple[str, Span, Span]] = []
    for file in one.files:
        for name in left.shards[file].tensors:
            other = renamed(name, prefix)
            if one.owner.get(name) == file and other in two.owner:
                spans = _span(left, file, name), _span(right, two.owner[other], other)
                if spans[0][1] == spans[1][1]:
                    pairs.append((name, spans[0][0], spans[1][0]))
    total = sum(span.length or 0 for _, span, _ in pairs)
    done = 0
    same: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    templates = Templates()
    for name, first, second in pairs:
        try:
            found = same if alike(left.source, first, right.source, second) else others
        except Unavailable as error:
            raise ResaveError(str(error)) from error
        found.append((name, templates.of(name)))
        done += first.length or 0
        progress(done, total)
    return Values(_groups(same), _groups(others))


def _span(ckpt: Checkpoint, file: str, name: str) -> tuple[Span, tuple[str, tuple[int, ...]]]:
    shard = ckpt.shards[file]
    entry = shard.tensors[name]
    begin, end = entry.data_offsets
    return Span(file, 8 + shard.header_len + begin, end - begin), (entry.dtype, tuple(entry.shape))
