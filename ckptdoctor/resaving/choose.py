"""Which files make up the model, and which of their tensors are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from ..checkpoint.dtypes import BITS
from ..checkpoint.names import Templates
from ..checkpoint.nouns import Checkpoint, Shard
from ..loaders.base import default_files
from ..loaders.shared.modules import architecture
from ..model.words import amount
from ..repairs.shards import model_files
from ..sources.alike import alike
from ..sources.base import Span, Unavailable
from .nouns import Chosen, Piece, ResaveError, ResaveUsage, Tensor

_UNSOUND = frozenset(
    {
        "overlap",
        "truncated",
        "size-mismatch",
        "tensor-malformed",
        "unknown-dtype",
        "negative-or-huge",
        "duplicate-key",
    }
)
"""Defects of a layout that a re-save would carry on; holes and what follows the last tensor it leaves behind."""


def files_of(ckpt: Checkpoint) -> tuple[str, ...]:
    """Return the weight files of the model: those of the index, else those that make up a model between them."""
    if ckpt.index is not None and ckpt.index.weight_map:
        absent = [name for name in ckpt.index.files if name not in ckpt.shards]
        if not absent:
            return default_files(ckpt)
        found = tuple(model_files(ckpt))
        if found:
            return found
        raise ResaveError(f"{absent[0]}: the index names it and it is not here; fetch it first")
    return tuple(model_files(ckpt)) or default_files(ckpt)


def chosen(ckpt: Checkpoint, drop: Sequence[str], *, stray: bool) -> tuple[list[Chosen], list[str]]:
    """Return the tensors to keep by file, and what was dropped in words.

    ``drop`` are patterns of tensor names; with ``stray``, what the architecture does not ask for goes too.
    Raises ResaveError where a file cannot be read or where it is not known which bytes are meant.
    """
    files = files_of(ckpt)
    if not files:
        raise ResaveError(f"{ckpt.label}: no safetensors weights here")
    for file in files:
        _sound(ckpt, ckpt.shards[file])
    unwanted, notes = _unwanted(ckpt, files, drop, stray=stray)
    owner = _owners(ckpt, files)
    twice = sum(len(ckpt.shards[file].tensors) for file in files) - len(owner)
    if twice:
        notes.append(f"{amount(twice, 'tensor')} stored twice with equal bytes: written once")
    kept = []
    for file in files:
        shard = ckpt.shards[file]
        names = [name for name in shard.tensors if owner[name] == file and name not in unwanted]
        if names:
            metadata = {key: value for key, value in (shard.metadata or {}).items() if isinstance(value, str)}
            kept.append(Chosen(file, tuple(sorted(_tensors(shard, names), key=_place)), metadata))
    if not kept:
        raise ResaveUsage("no tensor would be left")
    return kept, notes


def _owners(ckpt: Checkpoint, files: tuple[str, ...]) -> dict[str, str]:
    """Return the first file that holds each tensor. Raises ResaveError where another holds other bytes."""
    owner: dict[str, str] = {}
    for file in files:
        for name in ckpt.shards[file].tensors:
            if name in owner:
                _same(ckpt, name, owner[name], file)
            else:
                owner[name] = file
    return owner


def _place(tensor: Tensor) -> tuple[int, str]:
    return tensor.pieces[0].offset if tensor.pieces else 0, tensor.name


def _tensors(shard: Shard, names: Sequence[str]) -> Iterator[Tensor]:
    start = 8 + shard.header_len
    for name in names:
        entry = shard.tensors[name]
        begin, end = entry.data_offsets
        pieces = (Piece(shard.name, start + begin, end - begin),) if end > begin else ()
        yield Tensor(name, entry.dtype, tuple(entry.shape), pieces)


def _sound(ckpt: Checkpoint, shard: Shard) -> None:
    """Raise ResaveError unless every tensor of ``shard`` has bytes of its own."""
    state = ckpt.entries[shard.name].state if shard.name in ckpt.entries else "absent"
    if state != "here" or not shard.readable:
        why = "its header cannot be read" if state == "here" else f"it is {_STATES.get(state, state)}"
        raise ResaveError(f"{shard.name}: {why}; `ckptdoctor check` says more")
    for defect in ckpt.defects:
        if defect.at.file == shard.name and defect.code in _UNSOUND:
            where = f" ({defect.at.tensor})" if defect.at.tensor else ""
            raise ResaveError(
                f"{shard.name}: {defect.code}{where}: its bytes are not all there; fetch it again"
            )
    odd = next((name for name, entry in shard.tensors.items() if entry.dtype not in BITS), None)
    if odd is not None:
        raise ResaveError(
            f"{shard.name}: the size of {odd} is not known, its dtype is {shard.tensors[odd].dtype}"
        )


_STATES = {"pointer": "a Git LFS pointer", "absent": "not here", "link-out": "a link out of the checkpoint"}


def _unwanted(
    ckpt: Checkpoint, files: tuple[str, ...], drop: Sequence[str], *, stray: bool
) -> tuple[set[str], list[str]]:
    names = [name for file in files for name in ckpt.shards[file].tensors]
    notes: list[str] = []
    unwanted = {name for name in names if any(fnmatchcase(name, pattern) for pattern in drop)}
    for pattern in drop:
        count = sum(fnmatchcase(name, pattern) for name in names)
        if not count:
            raise ResaveUsage(f"--drop {pattern}: no tensor has such a name")
        notes.append(f"{amount(count, 'tensor')} called {pattern}: dropped")
    if stray:
        found = _stray(ckpt, files)
        notes += [
            f"{amount(total, 'tensor')} {template}: not asked for by the model, dropped"
            for template, total in found.items()
        ]
        templates = Templates()
        unwanted |= {name for name in names if templates.of(name) in found}
    return unwanted, notes


def _stray(ckpt: Checkpoint, files: tuple[str, ...]) -> Mapping[str, int]:
    """Return the templates that the architecture does not ask for, where it is known and all it asks for is here."""
    found = architecture(ckpt, ckpt.view(files)).comparison
    if found is None:
        raise ResaveError("--drop-stray: what this architecture asks for is not known; name them with --drop")
    if found.missing:
        first = next(found.missing[0].names)
        raise ResaveError(
            f"--drop-stray: {first} is missing, so what is stray is not known; name it with --drop"
        )
    return {item.template: item.total for item in found.unexpected}


def _same(ckpt: Checkpoint, name: str, first: str, second: str) -> None:
    """Raise ResaveError unless both files hold the same tensor under ``name``."""
    one, two = ckpt.shards[first], ckpt.shards[second]
    left, right = one.tensors[name], two.tensors[name]
    spans = [
        Span(s.name, 8 + s.header_len + t.data_offsets[0], t.data_offsets[1] - t.data_offsets[0])
        for s, t in ((one, left), (two, right))
    ]
    try:
        same = (left.dtype, left.shape) == (right.dtype, right.shape) and alike(
            ckpt.source, spans[0], ckpt.source, spans[1]
        )
    except Unavailable as error:
        raise ResaveError(str(error)) from error
    if not same:
        raise ResaveError(
            f"{name} is in {first} and in {second} with different values, and which one is meant cannot be known: "
            "a re-save of one of the files (ckptdoctor resave FILE OUT --drop NAME) leaves the wrong one out"
        )
