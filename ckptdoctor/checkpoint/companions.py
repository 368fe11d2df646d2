"""Which stored tensors are parts of a quantised one, by name alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator

DENSE = frozenset({"F64", "F32", "F16", "BF16"})

BUFFERS = ("rotary_emb.inv_freq", "rotary_pos_emb.inv_freq", "position_ids", "masked_bias", "attn.bias")
"""Endings of buffers that are recomputed and that every loader drops without a word."""

# Leaves that stand for, or belong to, the `weight` of the same module: what the writers of bitsandbytes, GPTQ, AWQ,
# compressed-tensors, block FP8, HQQ, torchao, quanto, MLX, AQLM, HIGGS, VPTQ and EETQ leave in a file.
_FOR_WEIGHT = frozenset(
    (
        *("qweight", "qzeros", "scales", "g_idx", "SCB", "CB", "weight_format", "biases", "qbiases"),
        *("W_q", "zero", "scale", "nbits", "group_size", "shape", "axis", "packing", "channel_wise"),
        *("view_as_float", "unpack_view_dtype", "compute_dtype", "quant_zero", "quant_scale", "offload_meta"),
        *(
            "encoded_state_dict",
            "stores_quant_config",
            "codes",
            "codebooks",
            "tables",
            "tables2",
            "centroids",
        ),
        *("indices", "perm", "weights", "q_scale", "k_scale", "v_scale", "kv_scale"),
        *("activation_scale", "activation_scale_inv"),
    )
)
_FOR_WEIGHT_STARTS = (
    "weight.",
    *(
        "weight_scale",
        "weight_packed",
        "weight_shape",
        "weight_zero_point",
        "weight_g_idx",
        "weight_global_scale",
    ),
    *("weight_format", "weight_qdata", "weight_block", "weight_bits"),
    "_weight_",
    "input_",
    "output_",
    "res_",
    "outlier_",
    "quant_state",
)

# Endings that turn a lone parameter (an expert block) into one part of its quantised form.
_PART_ENDINGS = (
    "_blocks",
    "_scales",
    "_scale_inv",
    "_global_scale",
    "_zero_point",
    "_packed",
    "_scale",
    "_shape",
)


def has_companions(parameter: str, leaves: Collection[str]) -> bool:
    """Whether a module holds parts of a quantised form of `parameter`."""
    return any(leaf != parameter and parameter in _parameters(leaf) for leaf in leaves)


def wholes(tensor: str) -> Iterator[str]:
    """The tensors of which a stored one may be a quantised part."""
    parts = tensor.split(".")
    for width in (1, 2, 3):  # `weight_packed`, `weight.absmax`, `weight.quant_state.bitsandbytes__nf4`
        if len(parts) > width:
            module = ".".join(parts[:-width])
            for parameter in _parameters(".".join(parts[-width:])):
                yield f"{module}.{parameter}"


def _parameters(leaf: str) -> Iterator[str]:
    """The parameters that a leaf may be a part of."""
    if leaf in _FOR_WEIGHT or leaf.startswith(_FOR_WEIGHT_STARTS):
        yield "weight"
    head, dot, _ = leaf.partition(".")
    if dot:
        yield head
    for ending in _PART_ENDINGS:
        if leaf.endswith(ending):
            yield leaf[: -len(ending)]
