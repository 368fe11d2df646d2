"""Whether a checkpoint fits on a GPU, with how much context, and on which GPU it would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading
from . import rough
from .cache import AUTO, cache
from .gpus import Gpu, gpus
from .keeping import devices
from .nouns import Cache, Weights
from .weights import weights

LORA_RANK = 16
"""The largest rank that vLLM expects of an adapter by default."""
LARGEST_CONTEXT = 1 << 27
"""Tokens; a config.json that says more says nothing."""


class Demand(NamedTuple):
    """What is to be served, on what."""

    context: int | None = None
    """Tokens of a sequence; None for as many as the model was made for."""
    batch: int = 1
    """Sequences at once."""
    kv_dtype: str = AUTO
    gpu: Gpu | None = None
    utilization: float = 0.92
    """The part of a GPU's memory that the server may take (``--gpu-memory-utilization``, 0.92 in vLLM 0.32.0)."""


class Need(NamedTuple):
    """Bytes on one device beside the weights."""

    cache: int | None
    """Of the context and batch asked for; None where it is not known."""
    unpacked: int
    """16-bit copies that latent attention makes of a packed matrix."""
    activations: int | None
    """About; None where sizes are missing."""


class Fit(NamedTuple):
    """The answer."""

    weights: Weights
    kept: Cache
    demand: Demand
    devices: int
    context: int | None
    """Tokens of a sequence that were reckoned with; None where neither the user nor config.json says."""
    need: Need
    total: int | None
    """Bytes on one device; None where a part is not known."""
    budget: int | None
    """Bytes that the server may take on the GPU asked about; None where none was."""
    fits: bool | None
    """None where no GPU was asked about, or a part is not known."""
    largest_context: int | None
    """Tokens of each of the sequences that still fit on the GPU asked about; None where that is not known."""
    smallest: Gpu | None
    """The smallest GPU of the table on which it fits, on as many devices; None where none does, or it is not known."""
    legal: tuple[int, ...] | None
    """Numbers of devices that the loader can split the model over."""
    lora_slot: int | None
    """About how many bytes each slot for an adapter takes."""
    unknown: tuple[str, ...]
    """Why a part is not known."""


def fit(ckpt: Checkpoint, reading: Reading, demand: Demand) -> Fit:
    """Reckon what ``demand`` takes on one device, and compare it with the GPU and with every GPU of the table."""
    config = text_config(ckpt.config)
    many = devices(reading)
    held = weights(ckpt, reading)
    kept = _kept(ckpt, reading, demand, many)
    context = demand.context or own_context(config)
    spare = rough.unpacked(ckpt, reading, many) if reading.rebuilds else 0
    case = _Case(held, kept, demand, config, many, context, spare)
    chosen = demand.gpu
    need = case.need(chosen or _LARGE)
    total = case.total(chosen or _LARGE)
    rank = reading.target.options.get("max_lora_rank", LORA_RANK)
    return Fit(
        held,
        kept,
        demand,
        many,
        context,
        need,
        total,
        case.budget(chosen) if chosen else None,
        None if chosen is None or total is None else case.fits(chosen),
        case.largest_context(chosen) if chosen else None,
        next((gpu for gpu in gpus(ckpt.rulebook) if case.fits(gpu)), None),
        reading.tensor_parallel,
        rough.lora_slot(ckpt, reading, rank if type(rank) is int else LORA_RANK, many),
        case.unknown,
    )


_LARGE = Gpu("", 80.0)
"""Stands in for a GPU where none is named."""


class _Case(NamedTuple):
    """Everything that does not depend on the GPU."""

    held: Weights
    kept: Cache
    demand: Demand
    config: Mapping[str, object]
    devices: int
    context: int | None
    spare: int

    @property
    def unknown(self) -> tuple[str, ...]:
        context = "" if self.context or self.kept.unknown else "config.json names no length of context"
        return tuple(filter(None, (self.held.unknown, self.kept.unknown, context)))

    def budget(self, gpu: Gpu) -> int:
        return int(gpu.memory * self.demand.utilization)

    def need(self, gpu: Gpu) -> Need:
        at_once = rough.step(gpu.memory)
        cached = self.cached(self.context, at_once.tokens) if self.context else None
        return Need(cached, self.spare, rough.activations(self.config, at_once, self.devices))

    def cached(self, context: int, in_flight: int) -> int | None:
        if self.kept.unknown:
            return None
        return self.kept.of(context, self.demand.batch, in_flight)

    def beside(self, gpu: Gpu) -> int | None:
        """Return the bytes of everything but the cache."""
        need = self.need(gpu)
        if self.held.total is None or need.activations is None:
            return None
        return self.held.total + need.unpacked + need.activations

    def total(self, gpu: Gpu) -> int | None:
        beside, cached = self.beside(gpu), self.need(gpu).cache
        return None if beside is None or cached is None else beside + cached

    def fits(self, gpu: Gpu) -> bool:
        total = self.total(gpu)
        return total is not None and total <= self.budget(gpu)

    def largest_context(self, gpu: Gpu) -> int | None:
        """Return the most tokens that still fit: more never take less, so halving finds them."""
        beside = self.beside(gpu)
        if beside is None or self.kept.unknown:
            return None
        left, in_flight = self.budget(gpu) - beside, rough.step(gpu.memory).tokens
        low, high = 0, min(own_context(self.config) or LARGEST_CONTEXT, LARGEST_CONTEXT)
        while low < high:
            middle = (low + high + 1) // 2
            taken = self.cached(middle, in_flight)
            low, high = (middle, high) if taken is not None and taken <= left else (low, middle - 1)
        return low


def _kept(ckpt: Checkpoint, reading: Reading, demand: Demand, devices: int) -> Cache:
    if not reading.rebuilds:
        return Cache(unknown=f"what {reading.target.loader} keeps of a sequence is not described")
    return cache(ckpt.config, ckpt.rulebook, dtype=demand.kv_dtype, devices=devices)


def text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return the part of a config that describes the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def own_context(config: Mapping[str, object]) -> int | None:
    """Return how many tokens a model was made for, None where its config does not say."""
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"):
        value = config.get(key)
        if type(value) is int and 0 < value <= LARGEST_CONTEXT:
            return value
    return None
