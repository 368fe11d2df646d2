"""Bytes of the weights that a model holds: parameters, persistent buffers, and what bitsandbytes keeps beside."""

from __future__ import annotations

import contextlib
from typing import Any


def held(model: Any) -> int:
    """Bytes of all weights of a model, each memory once; ``get_memory_footprint`` leaves the states out."""
    import torch

    kept = model.state_dict(keep_vars=True)
    found = {id(tensor): tensor for tensor in kept.values() if isinstance(tensor, torch.nn.Parameter)}
    found |= {id(tensor): tensor for name, tensor in model.named_buffers() if name in kept}
    return sum(size(tensor) + beside(tensor) for tensor in found.values())


def size(tensor: Any) -> int:
    """Bytes of one tensor; of one that is made of several (torchao's), theirs."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(size(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return int(tensor.nbytes)


def beside(weight: Any) -> int:
    """Bytes that bitsandbytes keeps for one weight: scales, and the table of its four-bit numbers.

    transformers hangs one state on a weight, vLLM one per part of a fused weight.
    """
    states = getattr(weight, "bnb_quant_state", None)
    several = list(states.values()) if isinstance(states, dict) else [states]
    found = [getattr(weight, "quant_state", None), getattr(weight, "SCB", None), *several]
    return sum(state_bytes(state) for state in found)


def state_bytes(state: Any) -> int:
    """Bytes of one quantisation state: the bare scales of eight bits, or absmax and code of four, nested or not."""
    if state is None:
        return 0
    if not hasattr(state, "absmax"):
        return int(state.nbytes)
    return int(state.absmax.nbytes) + int(state.code.nbytes) + state_bytes(state.state2)


def remember_constructors() -> None:
    """Let torch take down which functions make tensors, before one of them is wrapped.

    ``with torch.device("meta")`` goes by a set of functions that is made once, at its first use. With a wrapper in it,
    it no longer knows the function itself: models are built on another device, and what fails for a user goes well.
    """
    with contextlib.suppress(
        ImportError, AttributeError
    ):  # it is torch's own affair, and may change its name
        from torch.utils import _device

        _device._device_constructors()
