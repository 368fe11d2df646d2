"""What a parameter is made of: its pieces, each a view of it and the stored tensor it should be.

One, or the parts of a fused weight in their order, or one per expert and part. [] where nobody here knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from .stored import Stored

ALIASES = {
    "gate_proj": ("gate_proj", "w1"),
    "up_proj": ("up_proj", "w3"),
    "down_proj": ("down_proj", "w2"),
}
EXPERTS = {
    "w13_": ("gate_proj", "up_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "w2_": ("down_proj",),
    "down_proj": ("down_proj",),
}
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


class Piece(NamedTuple):
    """A part of a parameter, as the numbers it stands for or as its codes, and the stored tensor it should be."""

    view: torch.Tensor
    name: str
    alike: bool = True
    """Whether it is held in the scheme that it is stored in."""
    fits: bool = True
    """Whether it has the size of what is stored."""


def pieces(
    name: str,
    view: torch.Tensor,
    stored: Stored,
    prefix: str = "",
    packed: Mapping[str, Sequence[str]] = FUSED,
) -> list[Piece]:
    """The pieces of a parameter by its name; [] where they are not known. `prefix` may be there on one side only."""
    for spelled in _spellings(name, prefix):
        if spelled in stored.entries:
            return [_cut(view, spelled, stored)]
        found = list(_fused(spelled, view, stored, packed)) or list(_experts(spelled, view, stored))
        if found:
            return found
    return []


def _spellings(name: str, prefix: str) -> Iterator[str]:
    """What a parameter may be called in the file; vLLM nests experts and their router deeper than any file does."""
    name = name.replace(".experts.routed_experts.", ".experts.").replace(".experts.gate.", ".gate.")
    yield name
    if prefix:
        yield name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else f"{prefix}.{name}"


def _cut(view: torch.Tensor, name: str, stored: Stored) -> Piece:
    """A whole tensor, without the rows that a padded vocabulary adds."""
    shape = stored.entries[name].shape
    padded = view.ndim == 2 and len(shape) == 2 and view.shape[0] > shape[0] and view.shape[1:] == shape[1:]
    return Piece(view[: shape[0]] if padded else view, name)


def _shape(name: str, stored: Stored) -> tuple[int, ...]:
    state = stored.state(name)
    return tuple(state.get("shape") or ()) if state else stored.entries[name].shape


def _fused(
    name: str, view: torch.Tensor, stored: Stored, packed: Mapping[str, Sequence[str]]
) -> Iterator[Piece]:
    """The parts of `…qkv_proj.weight`, one behind the other along the dimension that they fill together."""
    module, _, leaf = name.rpartition(".")
    parent, _, last = module.rpartition(".")
    names = [f"{parent}.{part}.{leaf}" for part in packed.get(last, ())]
    there = [part for part in names if part in stored.entries]
    if there and len(there) < len(names):
        yield from (Piece(view, part) for part in names)
    elif there:
        yield from list(_along(view, names, stored)) or _unfit(view, names, stored)


def _unfit(view: torch.Tensor, names: Sequence[str], stored: Stored) -> Iterator[Piece]:
    """The parts of a plain matrix that do not fill it, or more than fill it."""
    plain = view.is_floating_point() and view.ndim == 2
    if plain and all(stored.entries[name].shape[1:] == tuple(view.shape[1:]) for name in names):
        yield from (Piece(view, name, fits=False) for name in names)


def _along(view: torch.Tensor, names: Sequence[str], stored: Stored) -> Iterator[Piece]:
    shapes = [_shape(name, stored) for name in names]
    for dim in range(view.ndim):
        fits = all(
            len(shape) == view.ndim and (*shape[:dim], *shape[dim + 1 :]) == _without(view.shape, dim)
            for shape in shapes
        )
        if fits and sum(shape[dim] for shape in shapes) == view.shape[dim]:
            first = 0
            for name, shape in zip(names, shapes, strict=True):
                yield Piece(view.narrow(dim, first, shape[dim]), name)
                first += shape[dim]
            return


def _without(shape: Sequence[int], dim: int) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])


def _experts(name: str, view: torch.Tensor, stored: Stored) -> Iterator[Piece]:
    """The parts of `…experts.w13_weight` or `…experts.gate_up_proj`, expert by expert."""
    parent, _, last = name.rpartition(".")
    wanted = next((key for key in EXPERTS if last.startswith(key)), None)
    if wanted is None or not parent.endswith("experts") or view.ndim != 3:
        return
    leaf = last.removeprefix(wanted).lstrip("_") or "weight"
    parts = EXPERTS[wanted]
    rows = [[_expert(f"{parent}.{n}", part, leaf, stored) for part in parts] for n in range(len(view))]
    yield from _filled(rows, view, stored)


def _filled(rows: Sequence[Sequence[str]], view: torch.Tensor, stored: Stored) -> Iterator[Piece]:
    """The pieces of experts, a row of names for each; nothing where none of them is stored."""
    every = [name for row in rows for name in row]
    if not any(name in stored.entries for name in every):
        return
    if not all(name in stored.entries for name in every):
        yield from (Piece(view, name) for name in every)
        return
    found = [list(_along(view[number], row, stored)) for number, row in enumerate(rows)]
    if all(found):
        yield from (piece for several in found for piece in several)


def _expert(parent: str, part: str, leaf: str, stored: Stored) -> str:
    """The name of one part of one expert, by whichever of its names is stored; the usual one where none is."""
    names = [f"{parent}.{alias}.{leaf}" for alias in ALIASES[part]]
    return next((name for name in names if name in stored.entries), names[0])


def precise(found: Sequence[Piece], schemes: Mapping[str, str], held: str) -> list[Piece]:
    """The pieces, each told whether `held` is the scheme in which its module is stored."""
    return [piece._replace(alike=schemes.get(piece.name.rpartition(".")[0], held) == held) for piece in found]
