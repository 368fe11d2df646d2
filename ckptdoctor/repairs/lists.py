"""Lists of what is quantised and what is not, where the files tell it better."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Checkpoint, View
from ..formats import registry
from ..formats.declared import preferred
from ..loaders import facts
from ..model import Edit, Hit
from .base import drop_key, set_key, value_at


def drop_blocks(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the list of quantised modules out; GPTQ loaders then go by the dtypes in the files."""
    place = hit.at[-1]
    pointer = (place.pointer or "").partition("/modules_in_block_to_quantize")[0]
    yield from drop_key(ckpt, place.file, f"{pointer}/modules_in_block_to_quantize")


def drop_block(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the declaration out that nothing is stored by."""
    place = hit.at[0]
    yield from drop_key(ckpt, place.file, place.pointer or "")


def drop_entry(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take an entry that names nothing off its list."""
    place = next((at for at in hit.at if at.pointer), None)
    if place is None or place.pointer is None:
        return
    parent = place.pointer.rpartition("/")[0]
    listed = value_at(ckpt, place.file, parent)
    if isinstance(listed, list):
        yield from set_key(
            ckpt, place.file, parent, [entry for entry in listed if entry != hit.facts["entry"]]
        )


def list_dense(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Put 16-bit modules on the skip list; nothing where a loader would then fuse them with quantised ones."""
    declared = preferred(ckpt)
    modules = [place.tensor.rpartition(".")[0] for place in hit.at if place.tensor]
    if declared is None or len(modules) < hit.count or not _fuses_well(view, modules):
        return
    for pointer, value in registry.of(declared, ckpt.rulebook).leave_out(declared.block, modules):
        yield from set_key(ckpt, declared.file, declared.pointer + pointer, value)


def _fuses_well(view: View, modules: list[str]) -> bool:
    """Whether every other part of the layers that a loader makes of ``modules`` is 16-bit too."""
    quantised = {module for s in view.signatures if s.stored.quantized for module in s.modules}
    for _, parts in facts.all_groups(view.rulebook.loaders):
        for module in modules:
            parent, _, last = module.rpartition(".")
            if last in parts and any(f"{parent}.{part}" in quantised for part in parts):
                return False
    return True
