"""The tensors of a LoRA adapter file, joined into pairs by the module they adapt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...checkpoint.nouns import Shard
from ...model import MAX_LOCATIONS, Location

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
Shape = tuple[int, ...]

_LORA = re.compile(
    r"(?P<module>.+)\.lora_(?:(?P<embedding>embedding_)?(?P<half>[AB])|(?P<magnitude>magnitude_vector))"
    r"(?:\.(?P<adapter>(?!weight\Z)[^.]+))?(?:\.weight)?\Z"
)


class Pair(NamedTuple):
    """The LoRA tensors found for one module; None for one that is absent."""

    a: Shape | None = None
    """``[r, in]``, of an embedding ``[r, vocabulary]``."""
    b: Shape | None = None
    """``[out, r]``, of an embedding ``[dimension, r]``."""
    magnitude: Shape | None = None
    """DoRA's ``[out]``."""
    embedding: bool = False
    """The halves are named ``lora_embedding_A`` and ``lora_embedding_B``."""


class Parts(NamedTuple):
    """An adapter file taken apart."""

    pairs: Mapping[str, Pair]
    """By full module name, PEFT's prefix included."""
    whole: Mapping[str, Shape]
    """Every other tensor: modules_to_save, biases, names of other trainers."""
    labelled: frozenset[str]
    """Names of an adapter found inside tensor names (``lora_A.default.weight``)."""

    @property
    def prefixed(self) -> bool:
        """Whether any pair is named as PEFT names it."""
        return any(module.startswith(PREFIX) for module in self.pairs)


def parts(shard: Shard) -> Parts:
    """Take the header of an adapter file apart."""
    pairs: dict[str, Pair] = {}
    whole: dict[str, Shape] = {}
    labelled = set()
    for name, entry in shard.tensors.items():
        shape = tuple(entry.shape)
        found = _LORA.match(name)
        if found is None:
            whole[name] = shape
            continue
        labelled |= {found["adapter"]} - {None}
        pair = pairs.get(found["module"], Pair())
        if found["magnitude"]:
            pair = pair._replace(magnitude=shape)
        elif len(shape) == 2:
            half = found["half"].lower()
            pair = pair._replace(embedding=pair.embedding or bool(found["embedding"]), **{half: shape})
        pairs[found["module"]] = pair
    return Parts(pairs, whole, frozenset(labelled))


def tensor_name(module: str, pair: Pair, half: str) -> str:
    """Return the name of one half (``A`` or ``B``) as PEFT saves it."""
    return f"{module}.lora_embedding_{half}" if pair.embedding else f"{module}.lora_{half}.weight"


def halves(found: Parts, modules: Sequence[str], half: str) -> tuple[Location, ...]:
    """Return where one half of the pairs of ``modules`` is, or would be."""
    return places([tensor_name(name, found.pairs[name], half) for name in modules[:MAX_LOCATIONS]])


def places(tensors: Sequence[str]) -> tuple[Location, ...]:
    """Return the places of the first tensors of an adapter file."""
    return tuple(Location(WEIGHTS, tensor=name) for name in tensors[:MAX_LOCATIONS])


def alone(found: Parts, half: str) -> list[str]:
    """Return the modules that lack ``half`` (``A`` or ``B``) and have the other."""
    own = half.lower()
    return [name for name, pair in found.pairs.items() if getattr(pair, own) is None and (pair.a or pair.b)]


def bare(name: str) -> str:
    """Return a name without PEFT's prefix."""
    return name.removeprefix(PREFIX)


def template(name: str) -> str:
    """Return a module's name with a star for each number."""
    return _NUMBER.sub("*", name)


_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|\Z)")
