"""Tensor names without what a wrapper left in them, or with what they lack; one name in, one name out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.adapter.tensors import WEIGHTS
from ..loaders.shared.modules import architecture
from ..model import Edit, Hit, TensorRename


def strip(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the component ``part`` out of every name, or its repetition where it is one word twice."""
    part = str(hit.facts.get("part") or hit.facts.get("wrapped"))
    one, _, two = part.partition(".")
    instead = f"{one}." if one == two else ""
    found = re.compile(rf"(?:(?<=\.)|^){re.escape(part)}\.")
    yield from _renames(ckpt, view, lambda name: found.sub(instead, name))


def strip_merged(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take a wrapper of PEFT out of every name where no tensor of an adapter is among them."""
    if not hit.facts["lora"]:
        yield from strip(ckpt, view, hit)


def add_prefix(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Put the base model's prefix before every name that the architecture has under it."""
    known = architecture(ckpt, view).expected
    if known is None or not known.prefix:
        return
    prefix = f"{known.prefix}."
    own = {name.partition(".")[0] for name in known.entries if not name.startswith(prefix)} | {known.prefix}
    yield from _renames(ckpt, view, lambda name: name if name.partition(".")[0] in own else prefix + name)


def undouble(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the second of two equal prefixes off every name."""
    prefix = str(hit.facts["prefix"])
    twice = f"{prefix}.{prefix}."
    if prefix:
        yield from _renames(
            ckpt, view, lambda name: name[len(prefix) + 1 :] if name.startswith(twice) else name
        )


def add_peft_prefix(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Put PEFT's prefix before every name of an adapter."""
    prefix = str(hit.facts["expected"])
    shard = ckpt.shards[WEIGHTS]
    for name in shard.tensors:
        yield TensorRename(WEIGHTS, name, prefix + name)


def state(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Name the quantisation states of one template after the type that they state."""
    named, codes = f"bitsandbytes__{hit.facts['named']}", f"bitsandbytes__{hit.facts['codes']}"
    for signature in view.templates.get(hit.subject, ()):
        leaf = f"weight.quant_state.{named}"
        if signature.leaf(leaf) is None or signature.leaf(f"weight.quant_state.{codes}") is not None:
            continue
        for module in signature.modules:
            yield TensorRename(
                view.owner[f"{module}.{leaf}"], f"{module}.{leaf}", f"{module}.weight.quant_state.{codes}"
            )


def scb(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Name the row scales of LLM.int8 as bitsandbytes does, where they are there as ``weight.SCB``."""
    for signature in view.templates.get(hit.subject, ()):
        if signature.leaf("weight.SCB") is None or signature.leaf("SCB") is not None:
            continue
        for module in signature.modules:
            name = f"{module}.weight.SCB"
            yield TensorRename(view.owner[name], name, f"{module}.SCB")


def _renames(ckpt: Checkpoint, view: View, rename: Callable[[str], str]) -> Iterator[Edit]:
    """Yield a rename for every changed name, none at all where two tensors would get one name."""
    shards = [ckpt.shards[file] for file in view.files if file in ckpt.shards]
    names = [(shard.name, name) for shard in shards for name in shard.tensors]
    new = [rename(name) for _, name in names]
    if len(set(new)) == len(new) and all(new):
        for (file, name), to in zip(names, new, strict=True):
            if to != name:
                yield TensorRename(file, name, to)
