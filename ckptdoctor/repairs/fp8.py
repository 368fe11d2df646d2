"""The ``quantization_config`` of block FP8 (DeepSeek-V3, Qwen3-FP8), read off the scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..checkpoint.nouns import Checkpoint, Signature, View
from ..formats.fp8 import block
from ..loaders.shared.modules import architecture, family, is_convertible
from ..model import Edit, Hit
from .base import CONFIG, is_whole, set_key

_BLOCK = "fp8-block"
_ACTIVATIONS = ("activation_scale", "input_scale")


def declare(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the block where every quantised weight is FP8 with scales of one block size."""
    quantised = [s for s in view.signatures if s.stored.quantized]
    rest = [s for s in view.signatures if not s.stored.quantized]
    size = _block_size(quantised)
    are_dense = all(family(signature.stored.scheme) == "dense" for signature in rest)
    if size is None or not are_dense or not is_whole(ckpt, view):
        return
    known = architecture(ckpt, view)
    dense = [m for s in rest if is_convertible(s, known) for m in s.modules if m != "lm_head"]
    static = any(signature.leaf(name) for signature in quantised for name in _ACTIVATIONS)
    wanted = block(size, ["lm_head", *dense], static=static)
    yield from set_key(ckpt, CONFIG, "/quantization_config", wanted)


def _block_size(quantised: Sequence[Signature]) -> int | None:
    """Return the block size that all of ``quantised`` have, None where one is no block FP8 or sizes differ."""
    stored = {(signature.stored.scheme, signature.stored.group) for signature in quantised}
    if len(stored) != 1:
        return None
    scheme, size = stored.pop()
    return size if scheme == _BLOCK else None
