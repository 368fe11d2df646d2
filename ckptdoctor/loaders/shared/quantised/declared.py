"""What ``quantization_config`` says of every module, method by method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ....checkpoint.nouns import Checkpoint
from .layout import Layout

Block = Mapping[str, object]


class Group(NamedTuple):
    """One of the ``config_groups`` of compressed-tensors."""

    targets: tuple[str, ...]
    layout: Layout
    actorder: str
    """``group``, ``weight``…, "" for none."""
    has_inputs: bool
    """Activations are quantised too."""


def block_in_vllm(ckpt: Checkpoint) -> Block:
    """Return the block that vLLM takes for the quantisation of ``ckpt``, empty when there is none.

    https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/transformers_utils/config.py (get_config) and
    ``model_arch_config_convertor.py`` (get_quantization_config).
    """
    block = ckpt.config.get("quantization_config")
    if block is None and (sidecar := ckpt.object("hf_quant_config.json")):
        return sidecar if sidecar.get("quant_method") else {**sidecar, "quant_method": "modelopt"}
    if block is None:
        nested = ckpt.config.get("text_config")
        places = [ckpt.config.get("compression_config")]
        if isinstance(nested, dict):
            places += [nested.get("quantization_config"), nested.get("compression_config")]
        block = next((place for place in places if isinstance(place, dict)), None)
    return block if isinstance(block, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """Return the strings of a list, those of lists inside it too."""
    if isinstance(value, str):
        return (value,)
    return tuple(text for item in value for text in texts(item)) if isinstance(value, list) else ()


def number(value: object, otherwise: int) -> int:
    """Return ``value`` when it is a whole number."""
    return value if type(value) is int else otherwise


def groups(block: Block) -> tuple[Group, ...]:
    """Return the groups of a compressed-tensors block, in order."""
    found = block.get("config_groups")
    rows = found.values() if isinstance(found, dict) else ()
    return tuple(
        _group(row, block) for row in rows if isinstance(row, dict) and isinstance(row.get("weights"), dict)
    )


def _group(row: Block, block: Block) -> Group:
    weights, inputs = row["weights"], row.get("input_activations")
    assert isinstance(weights, dict)
    format_ = str(row.get("format") or block.get("format") or "")
    strategy = str(weights.get("strategy") or ("group" if weights.get("group_size") else "tensor"))
    tile, size = weights.get("block_structure"), number(weights.get("group_size"), 0)
    layout = Layout(
        format_,
        bits=number(weights.get("num_bits"), 8),
        group=size if size > 0 and strategy in ("group", "tensor_group") else None,
        block=(tile[0], tile[1])
        if strategy == "block"
        and isinstance(tile, list)
        and len(tile) == 2
        and all(type(n) is int and n > 0 for n in tile)
        else None,
        per_tensor=strategy == "tensor",
        symmetric=weights.get("symmetric", True) is not False,
        static_input=isinstance(inputs, dict) and inputs.get("dynamic") in (False, None, "local"),
    )
    return Group(
        texts(row.get("targets")), layout, str(weights.get("actorder") or ""), isinstance(inputs, dict)
    )


def fp8(block: Block) -> Layout:
    """Return the layout that a ``quant_method: fp8`` block declares."""
    tile = block.get("weight_block_size")
    whole = isinstance(tile, list) and len(tile) == 2 and all(type(size) is int and size > 0 for size in tile)
    static = block.get("activation_scheme") == "static"
    if whole and isinstance(tile, list):
        return Layout("fp8", block=(tile[0], tile[1]), static_input=static)
    return Layout("fp8", per_tensor=True, static_input=static)


def gptq(block: Block) -> Layout | None:
    """Return the layout of a GPTQ block, None when its numbers make no sense."""
    bits, size = number(block.get("bits"), 0), number(block.get("group_size"), -1)
    if bits not in (2, 3, 4, 8):
        return None
    return Layout(
        "gptq", bits=bits, group=size if size > 0 else None, symmetric=block.get("sym") is not False
    )


def awq(block: Block) -> Layout | None:
    """Return the layout of an AWQ block, None when its numbers make no sense."""
    bits = number(block.get("w_bit", block.get("bits")), 0)
    size = number(block.get("q_group_size", block.get("group_size")), -1)
    if bits not in (4, 8):
        return None
    return Layout(
        "awq", bits=bits, group=size if size > 0 else None, symmetric=block.get("zero_point") is False
    )
