"""Bytes of the state that one layer keeps of a sequence (vLLM's ``MambaStateShapeCalculator``, 0.32.0).

A state of two parts: the last inputs of a short convolution in the type of the model, 16 bits wide, and the recurrent
part, which these models keep in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Sizes = Mapping[str, int]
_CONVOLUTION, _RECURRENT = 2, 4
"""Bytes of a number."""


def _mamba(sizes: Sizes, devices: int) -> int:
    inner = sizes["inner"] // devices
    return inner * _before(sizes) * _CONVOLUTION + inner * sizes["states"] * _RECURRENT


def _mamba2(sizes: Sizes, devices: int) -> int:
    """Groups that do not come out whole are repeated on every device."""
    groups = sizes["groups"] + (devices - sizes["groups"] if sizes["groups"] % devices else 0)
    inner = sizes["heads"] * sizes["width"] + 2 * groups * sizes["states"]
    recurrent = sizes["heads"] // devices * sizes["width"] * sizes["states"]
    return inner // devices * _before(sizes) * _CONVOLUTION + recurrent * _RECURRENT


def _delta(sizes: Sizes, devices: int) -> int:
    inner = 2 * sizes["key_heads"] * sizes["key_width"] + sizes["heads"] * sizes["width"]
    recurrent = sizes["heads"] // devices * sizes["width"] * sizes["key_width"]
    return inner // devices * _before(sizes) * _CONVOLUTION + recurrent * _RECURRENT


def _before(sizes: Sizes) -> int:
    """Return how many earlier inputs a convolution needs."""
    return max(0, sizes["kernel"] - 1)


STATES: Mapping[str, Callable[[Sizes, int], int]] = {"mamba": _mamba, "mamba2": _mamba2, "delta": _delta}
"""Word of ``rules/memory.yaml`` → bytes of one layer on the first of so many devices."""
