"""Make checkpoints with the headers of real ones and no weights: sparse files of full size on next to no disk.

    python bench/synth.py dsv3 OUT        # also: llama8b, llama70b-bnb4, kimi-k2

Names, dtypes and shapes are those of the published models (tensor counts agree with theirs); where the shards are
cut is not.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from math import ceil, prod
from pathlib import Path
from typing import NamedTuple

WIDTH = {"U8": 1, "F8_E4M3": 1, "BF16": 2, "F32": 4, "I32": 4, "I64": 8}


class Tensor(NamedTuple):
    """One tensor to lay out."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes = b""
    """First bytes of its data; the rest stays a hole in the file."""

    @property
    def size(self) -> int:
        """Bytes of data."""
        return prod(self.shape) * WIDTH[self.dtype]


Quantise = Callable[[str, int, int], Iterator[Tensor]]


def bf16(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    """Yield a plain linear layer."""
    yield Tensor(f"{module}.weight", "BF16", (rows, columns))


def nf4(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    """Yield a bitsandbytes NF4 layer with double quantisation."""
    blocks = ceil(rows * columns / 64)
    state = {
        "quant_type": "nf4",
        "blocksize": 64,
        "dtype": "bfloat16",
        "shape": [rows, columns],
        "nested_blocksize": 256,
        "nested_dtype": "float32",
        "nested_offset": 0.0421 + (len(module) * 7919 % 1000) / 1e7,
    }
    blob = json.dumps(state).encode()
    weight = f"{module}.weight"
    yield Tensor(weight, "U8", (ceil(rows * columns / 2), 1))
    yield Tensor(f"{weight}.absmax", "U8", (blocks,))
    yield Tensor(f"{weight}.nested_absmax", "F32", (ceil(blocks / 256),))
    yield Tensor(f"{weight}.nested_quant_map", "F32", (256,))
    yield Tensor(f"{weight}.quant_map", "F32", (16,))
    yield Tensor(f"{weight}.quant_state.bitsandbytes__nf4", "U8", (len(blob),), blob)


def fp8(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    """Yield a layer in 128×128 blocks of FP8."""
    yield Tensor(f"{module}.weight", "F8_E4M3", (rows, columns))
    yield Tensor(f"{module}.weight_scale_inv", "F32", (ceil(rows / 128), ceil(columns / 128)))


def int4(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    """Yield a compressed-tensors W4A16 layer with groups of 32."""
    yield Tensor(f"{module}.weight_packed", "I32", (rows, columns // 8))
    yield Tensor(f"{module}.weight_scale", "BF16", (rows, columns // 32))
    yield Tensor(f"{module}.weight_shape", "I64", (2,), struct.pack("<qq", rows, columns))


def llama(layers: int, hidden: int, inner: int, kv: int, vocab: int, linear: Quantise) -> Iterator[Tensor]:
    """Yield a Llama."""
    yield Tensor("model.embed_tokens.weight", "BF16", (vocab, hidden))
    for layer in range(layers):
        at = f"model.layers.{layer}"
        for name, rows in (("q_proj", hidden), ("k_proj", kv), ("v_proj", kv), ("o_proj", hidden)):
            yield from linear(f"{at}.self_attn.{name}", rows, hidden)
        yield from _mlp(f"{at}.mlp", hidden, inner, linear)
        yield from _norms(at, hidden, "input_layernorm", "post_attention_layernorm")
    yield from _norms("model", hidden, "norm")
    yield from bf16("lm_head", vocab, hidden)


def deepseek(
    heads: int, experts: int, dense: int, vocab: int, attention: Quantise, expert: Quantise, *, mtp: bool
) -> Iterator[Tensor]:
    """Yield a DeepSeek-V3 or a model of its build (61 layers, the first ``dense`` without experts)."""
    hidden = 7168
    yield Tensor("model.embed_tokens.weight", "BF16", (vocab, hidden))
    for layer in range(62 if mtp else 61):
        at = f"model.layers.{layer}"
        yield from _latent_attention(f"{at}.self_attn", hidden, heads, attention)
        yield from _norms(at, hidden, "input_layernorm", "post_attention_layernorm")
        if layer < dense:
            yield from _mlp(f"{at}.mlp", hidden, 18432, attention)
            continue
        yield from bf16(f"{at}.mlp.gate", experts, hidden)
        yield Tensor(f"{at}.mlp.gate.e_score_correction_bias", "F32", (experts,))
        yield from _mlp(f"{at}.mlp.shared_experts", hidden, 2048, attention)
        for number in range(experts):
            yield from _mlp(f"{at}.mlp.experts.{number}", hidden, 2048, expert)
        if layer == 61:
            yield from _norms(at, hidden, "enorm", "hnorm", "shared_head.norm")
            yield from bf16(f"{at}.eh_proj", hidden, 2 * hidden)
            yield from bf16(f"{at}.embed_tokens", vocab, hidden)
            yield from bf16(f"{at}.shared_head.head", vocab, hidden)
    yield from _norms("model", hidden, "norm")
    yield from bf16("lm_head", vocab, hidden)


def _latent_attention(at: str, hidden: int, heads: int, linear: Quantise) -> Iterator[Tensor]:
    yield from linear(f"{at}.q_a_proj", 1536, hidden)
    yield from linear(f"{at}.q_b_proj", heads * 192, 1536)
    yield from linear(f"{at}.kv_a_proj_with_mqa", 576, hidden)
    yield from linear(f"{at}.kv_b_proj", heads * 256, 512)
    yield from linear(f"{at}.o_proj", hidden, heads * 128)
    yield from _norms(at, 1536, "q_a_layernorm")
    yield from _norms(at, 512, "kv_a_layernorm")


def _mlp(at: str, hidden: int, inner: int, linear: Quantise) -> Iterator[Tensor]:
    yield from linear(f"{at}.gate_proj", inner, hidden)
    yield from linear(f"{at}.up_proj", inner, hidden)
    yield from linear(f"{at}.down_proj", hidden, inner)


def _norms(at: str, size: int, *names: str) -> Iterator[Tensor]:
    for name in names:
        yield Tensor(f"{at}.{name}.weight", "BF16", (size,))


BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}},
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|down)_proj"],
}
KINDS: dict[str, tuple[int, str, dict[str, object] | None, Callable[[], Iterator[Tensor]]]] = {
    "llama8b": (4, "LlamaForCausalLM", None, lambda: llama(32, 4096, 14336, 1024, 128256, bf16)),
    "llama70b-bnb4": (6, "LlamaForCausalLM", BNB, lambda: llama(80, 8192, 28672, 1024, 128256, nf4)),
    "dsv3": (163, "DeepseekV3ForCausalLM", FP8, lambda: deepseek(128, 256, 3, 129280, fp8, fp8, mtp=True)),
    "kimi-k2": (
        61,
        "DeepseekV3ForCausalLM",
        INT4,
        lambda: deepseek(64, 384, 1, 163840, bf16, int4, mtp=False),
    ),
}
"""Kind → shards, architecture, quantization_config, tensors."""


def write(kind: str, out: Path) -> None:
    """Write the checkpoint ``kind`` into the new directory ``out``."""
    shards, architecture, quantization, make = KINDS[kind]
    tensors = list(make())
    out.mkdir(parents=True)
    config: dict[str, object] = {"architectures": [architecture], "dtype": "bfloat16"}
    if quantization:
        config["quantization_config"] = quantization
    (out / "config.json").write_text(json.dumps(config, indent=2))
    weight_map: dict[str, str] = {}
    for number, part in enumerate(_cut(tensors, shards), 1):
        name = f"model-{number:05}-of-{shards:05}.safetensors"
        _write_shard(out / name, part)
        weight_map.update(dict.fromkeys((tensor.name for tensor in part), name))
    index = {"metadata": {"total_size": sum(t.size for t in tensors)}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def _cut(tensors: Sequence[Tensor], shards: int) -> Iterator[list[Tensor]]:
    """Cut into parts of about equal bytes, in order."""
    share, part, done, cut = sum(t.size for t in tensors) / shards, [], 0, 1
    for tensor in tensors:
        part.append(tensor)
        done += tensor.size
        if done >= share * cut and cut < shards:
            yield part
            part, cut = [], cut + 1
    yield part


def _write_shard(path: Path, tensors: Sequence[Tensor]) -> None:
    """Write one file as the reference writer orders it: wide dtypes first, then by name."""
    ordered = sorted(tensors, key=lambda tensor: (-WIDTH[tensor.dtype], tensor.name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    starts = []
    for tensor in ordered:
        starts.append(offset)
        span = [offset, offset + tensor.size]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": span}
        offset = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, start in zip(ordered, starts, strict=True):
            if tensor.content:
                file.seek(8 + len(text) + start)
                file.write(tensor.content)
        file.truncate(8 + len(text) + offset)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    write(arguments.kind, arguments.out)


if __name__ == "__main__":
    main()
