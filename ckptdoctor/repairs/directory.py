"""A directory's name as the loaders in scope want to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..checkpoint.nouns import Checkpoint, View
from ..model import DirRename, Edit, Hit

SUFFIX = "-bnb-4bit"
_FP8 = re.compile(r"[-_.]?fp8", re.IGNORECASE)


def _name(ckpt: Checkpoint) -> str:
    name = ckpt.label.rstrip("/").rpartition("/")[2]
    return "" if name in (".", "..") or name.endswith(".safetensors") else name


def add_suffix(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """End the name in ``-bnb-4bit``."""
    name = _name(ckpt)
    if name and not name.lower().endswith(SUFFIX):
        yield DirRename(name + SUFFIX)


def drop_suffix(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take ``-bnb-4bit`` off the name, unless 4 bits are asked for: without it the flag would be passed over."""
    name = _name(ckpt)
    if not hit.facts["asked"] and name.lower().endswith(SUFFIX) and len(name) > len(SUFFIX):
        yield DirRename(name[: -len(SUFFIX)])


def drop_unsloth(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the word unsloth out of ``…-unsloth-bnb-4bit``."""
    name = _name(ckpt)
    shorter = name.removesuffix("-unsloth" + SUFFIX)
    if shorter and shorter != name:
        yield DirRename(shorter + SUFFIX)


def drop_bf16(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take ``-bf16`` off the name."""
    name = _name(ckpt)
    if name.lower().endswith("-bf16") and len(name) > len("-bf16"):
        yield DirRename(name[: -len("-bf16")])


def drop_fp8(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Take the letters fp8 out of the name, where no parent has them too."""
    name = _name(ckpt)
    parents = ckpt.label.rstrip("/")[: -len(name)] if name else ""
    shorter = _FP8.sub("", name).strip("-_.")
    if shorter and shorter != name and not _FP8.search(parents):
        yield DirRename(shorter)
