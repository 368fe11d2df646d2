"""What vLLM keeps: read off 0.32.0 and measured there between loading and the conversion to a kernel's layout.

A kernel may drop what it does not need afterwards, never add to it. Scales of 8-bit weights are float32 parameters
whatever the file has, double quantisation of bitsandbytes is undone (``_dequantize_dq``), the order of GPTQ's
activations is not kept (``auto_gptq.py``), a vocabulary is padded to 64 rows, and of the parts of a fused layer only
the first brings its ``weight_shape`` (``compressed_tensors_wNa16.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from ..checkpoint.dtypes import BITS
from ..checkpoint.nouns import Leaf, Signature
from ..loaders.shared.modules import kind
from ..loaders.shared.quantised.matching import is_expert
from .keeping import BNB4, FLOATS, WIDTH, Keeper, bnb_numbers, devices, is_dense, nameless, plain, stored
from .nouns import Kept

VOCABULARY_PADDING = 64
_POSITIONS = re.compile(r"(?:^|\.)(?:wpe|\w*position\w*|\w*token_type\w*)$")
_NOT_FIRST = ("k_proj", "v_proj", "up_proj", "w3")
_FLOAT32 = re.compile(r"(?:^|\.)(?:A_log|A|e_score_correction_bias)$")
"""Parameters that models create in float32."""
_MX_BLOCK, _INNER_TILE, _HIDDEN_TILE = 32, 128, 256
"""Numbers that share a scale in MXFP4, and what the inner width and the hidden size of experts are padded to."""
_EIGHT_BITS = frozenset({"I8", "F8_E4M3", "F8_E5M2"})
_SCALES = frozenset({"weight_scale", "weight_scale_inv", "input_scale"})


class InVllm(Keeper):
    """vLLM."""

    def kept(self, signature: Signature, scheme: str) -> list[Kept] | None:
        """Return what one module held as ``scheme`` keeps."""
        was = signature.stored
        if nameless(signature):
            return None
        if is_dense(scheme):
            return self.dequantised(signature, 16) if was.quantized else list(self._dense(signature))
        if scheme in (*BNB4, "bnb-int8") and is_dense(was.scheme):
            return self.packed_on_load(signature, scheme, 16)
        if scheme != was.scheme:
            return None
        if scheme in BNB4:
            return [_bnb4(leaf) for leaf in bnb_numbers(signature) if ".nested_" not in leaf.name]
        if scheme == "bnb-int8":
            return [_bnb8(leaf) for leaf in bnb_numbers(signature)]
        if signature.leaf("gate_up_proj_blocks") and signature.leaf("down_proj_blocks"):
            return list(self._blocks(signature))
        return list(self._quantised(signature))

    def _dense(self, signature: Signature) -> Iterator[Kept]:
        for leaf in signature.leaves:
            wide = _FLOAT32.search(f"{signature.template}.{leaf.name}") is not None
            kept = plain(leaf, WIDTH["f32"] if wide else WIDTH["bf16"])
            rows = self._vocabulary(signature, leaf)
            yield kept._replace(numbers=kept.numbers // leaf.shape[0] * rows) if rows else kept

    def _vocabulary(self, signature: Signature, leaf: Leaf) -> int:
        """Return the rows of ``VocabParallelEmbedding`` and its kin, 0 for any other parameter."""
        of_words = kind(signature, self.known) in ("embedding", "head")
        if not of_words or not leaf.shape or not leaf.shape[0] or _POSITIONS.search(signature.template):
            return 0
        return -(-leaf.shape[0] // VOCABULARY_PADDING) * VOCABULARY_PADDING

    def _blocks(self, signature: Signature) -> Iterator[Kept]:
        """Yield blocks of experts in MXFP4, padded to a kernel's tiles on every device (``oracle/mxfp4.py``).

        These are the tiles of Marlin and TensorRT-LLM; some other kernels have smaller ones.
        """
        many = devices(self.reading)
        for leaf in signature.leaves:
            down = leaf.name.startswith("down")
            shape = list(leaf.shape)
            rows = shape[1] if len(shape) > 1 else 0
            if len(shape) > 1:
                inner = rows // 2 // many
                shape[1] = _tiles(rows, _HIDDEN_TILE) if down else 2 * many * _tiles(inner, _INNER_TILE)
            if len(shape) > 2:
                columns = shape[2] * _MX_BLOCK
                tiled = many * _tiles(columns // many, _INNER_TILE) if down else _tiles(columns, _HIDDEN_TILE)
                shape[2] = tiled // _MX_BLOCK
            yield Kept(leaf.name, prod(shape), BITS.get(leaf.dtype, 0))

    def _quantised(self, signature: Signature) -> Iterator[Kept]:
        last = signature.template.rpartition(".")[2]
        weight = signature.leaf("weight")
        eight = weight is not None and weight.dtype in _EIGHT_BITS
        for leaf in signature.leaves:
            if leaf.name == "g_idx" or (leaf.name == "weight_shape" and last in _NOT_FIRST):
                continue
            if leaf.name == "weight_shape" and is_expert(signature):
                yield Kept(leaf.name, prod(leaf.shape), 16)
            elif eight and leaf.name in _SCALES and leaf.dtype in FLOATS:
                yield Kept(leaf.name, prod(leaf.shape), 32)
            else:
                yield stored(leaf)


def _tiles(count: int, size: int) -> int:
    return -(-count // size) * size


def _bnb4(leaf: Leaf) -> Kept:
    if leaf.name == "weight":
        return stored(leaf)
    return Kept(leaf.name, prod(leaf.shape), 32) if leaf.name.startswith("weight.") else plain(leaf, 16)


def _bnb8(leaf: Leaf) -> Kept:
    return plain(leaf, 32 if leaf.name == "SCB" else 16)
