"""The nouns of storage schemes: a module's tensors, how they are stored, and bitsandbytes' own description of them."""

from __future__ import annotations

from typing import NamedTuple


class Leaf(NamedTuple):
    """One tensor of a module: ``weight``, ``weight.absmax``, ``qweight``, ``gate_up_proj_blocks``…"""

    name: str
    dtype: str
    """Safetensors dtype code, ``""`` when only the tensor's name is known."""
    shape: tuple[int, ...]
    """Dimensions in elements; ``()`` when only the tensor's name is known, and for a bitsandbytes quant_state,
    whose length is that of a JSON text."""


class Stored(NamedTuple):
    """How a module's weight is stored, read off its tensors alone."""

    scheme: str
    """Scheme id: ``bf16 f16 f32 f64 f8_e4m3 i8 …`` for a lone dense weight, ``bnb-nf4``, ``gptq``, …;
    ``""`` when names alone do not tell."""
    bits: int | None = None
    group: int | None = None
    """Group or block size along the input dimension."""
    in_features: int | None = None
    out_features: int | None = None
    quantized: bool = False


class QuantState(NamedTuple):
    """bitsandbytes' quant_state JSON less its offset; None for keys that are absent."""

    quant_type: object = None
    blocksize: object = None
    dtype: object = None
    shape: tuple[int, ...] | None = None
    nested_blocksize: object = None
    nested_dtype: object = None
    has_offset: bool = False
    zero_offset: bool = False
    """The nested offset (the mean of positive absmax values) is exactly 0."""
    extra: tuple[str, ...] = ()
    """Keys bitsandbytes does not know."""
    defect: str | None = None
    """Why the blob could not be parsed (``unreadable`` when its bytes could not be had), else None."""
