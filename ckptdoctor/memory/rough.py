"""What a server needs beside weights and cache. Orders of magnitude, and called so: nothing here is exact."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from ..checkpoint.nouns import Checkpoint
from ..loaders.base import Reading
from ..loaders.shared.modules import architecture
from ..loaders.vllm.split_sizes import of_config
from .gpus import GIB

_FIXED = GIB
"""CUDA's context, workspaces of kernels and captured graphs."""
_MOST = 1 << 62
"""Bytes that no device has: a size in config.json is no size then."""
_COPIES = 6
"""Hidden states of a step that are alive at once: input, residual, queries, keys, values, output."""
_LOGITS = 2 + 4 + 4
"""Bytes of a logit on the way through the sampler: as computed, in float32, sorted."""
_ACTIVATION = 2
"""Bytes of a number between layers."""


class Step(NamedTuple):
    """How much a server of vLLM computes at once by default (``EngineArgs`` of 0.32.0, for ``vllm serve``)."""

    tokens: int
    sequences: int


def step(memory: int) -> Step:
    """Return the defaults on a GPU of ``memory`` bytes."""
    if memory >= 160 * GIB:
        return Step(16384, 1024)
    return Step(8192, 1024) if memory >= 70 * GIB else Step(2048, 256)


def activations(config: Mapping[str, object], at_once: Step, devices: int) -> int | None:
    """Return about how many bytes the largest step takes on one device, None where sizes are missing."""
    sizes = of_config(config)
    if sizes is None:
        return None
    inner = max((*sizes.dense, *sizes.experts))
    hidden = at_once.tokens * (sizes.hidden * _COPIES + 3 * inner // devices) * _ACTIVATION
    total = _FIXED + hidden + at_once.sequences * sizes.vocabulary * _LOGITS
    return total if total < _MOST else None


def lora_slot(ckpt: Checkpoint, reading: Reading, rank: int, devices: int) -> int | None:
    """Return about how many bytes one slot for an adapter of ``rank`` takes on one device, experts apart.

    vLLM reserves both matrices for every linear layer whatever an adapter has (``layers/lora``). None where the
    linear layers are not known.
    """
    view = ckpt.view(reading.plan.files)
    known = architecture(ckpt, view)
    if known.expected is None:
        return None
    total = 0
    for entries in known.expected.entries.values():
        for entry in entries:
            if entry.kind == "linear" and entry.shape and len(entry.shape) == 2:
                total += entry.total * (entry.shape[0] // devices + entry.shape[1]) * rank * _ACTIVATION
    return total if 0 < total < _MOST else None


def unpacked(ckpt: Checkpoint, reading: Reading, devices: int) -> int:
    """Return the bytes of what latent attention keeps in 16 bits beside a packed ``kv_b_proj``.

    ``mla_attention.py: process_weights_after_loading`` unpacks it into two parameters; of a plain one they are views.
    """
    view = ckpt.view(reading.plan.files)
    known = architecture(ckpt, view)
    total = 0
    for signature in view.signatures:
        if signature.template.endswith(".kv_b_proj") and signature.stored.quantized:
            entries = known.expected.entries.get(f"{signature.template}.weight", ()) if known.expected else ()
            shapes = {entry.shape for entry in entries if entry.shape}
            total += sum(prod(shape) for shape in shapes) * len(signature.modules) * _ACTIVATION // devices
    return total
