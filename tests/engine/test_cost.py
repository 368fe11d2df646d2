"""What rules cost: calls into checks grow with rules and signatures, not with tensors."""

from __future__ import annotations

import json
import struct
import sys
from types import FrameType

import pytest

from ckptdoctor import ruledata
from ckptdoctor.engine import examine
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import default_targets, load

SHAPES = {
    "self_attn.q_proj.weight": [64, 64],
    "self_attn.k_proj.weight": [64, 64],
    "self_attn.v_proj.weight": [64, 64],
    "self_attn.o_proj.weight": [64, 64],
    "mlp.gate_proj.weight": [128, 64],
    "mlp.up_proj.weight": [128, 64],
    "mlp.down_proj.weight": [64, 128],
    "input_layernorm.weight": [64],
    "post_attention_layernorm.weight": [64],
}


class Holes:
    """Bytes of a file that begins with a header and is empty after it."""

    def __init__(self, head: bytes, size: int) -> None:
        self.head, self.size = head, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        return self.head[start:stop].ljust(max(0, stop - start), b"\0")


def llama(layers: int, model_type: str) -> MemorySource:
    tensors = {"model.embed_tokens.weight": [32, 64], "model.norm.weight": [64], "lm_head.weight": [32, 64]}
    tensors |= {f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in SHAPES.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": model_type, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32,
        "tie_word_embeddings": False,
    }  # fmt: skip
    head = struct.pack("<Q", len(text)) + text
    files = {"model.safetensors": Holes(head, len(head) + end), "config.json": json.dumps(config).encode()}
    return MemorySource("model", files)  # type: ignore[arg-type]


def calls(layers: int, model_type: str, cards: tuple[ruledata.Card, ...]) -> int:
    """Count the calls into ``ckptdoctor/checks`` of one whole check."""
    ckpt, count = load(llama(layers, model_type)), 0

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and "ckptdoctor/checks" in frame.f_code.co_filename.replace("\\", "/")

    sys.setprofile(watch)
    try:
        report = examine(ckpt, default_targets(), cards)
    finally:
        sys.setprofile(None)
    assert not report.crashes
    return count


@pytest.mark.parametrize("model_type", ["llama", "unheard_of"])
def test_rules_do_not_cost_by_the_tensor(model_type: str) -> None:
    cards = ruledata.load().cards
    few, many = calls(8, model_type, cards), calls(80, model_type, cards)
    assert many <= 1.1 * few + 200, (few, many)


def test_twice_the_cards_is_twice_the_calls_at_most() -> None:
    cards = ruledata.load().cards
    one, two = calls(40, "llama", cards), calls(40, "llama", cards + cards)
    assert two <= 2 * one + 200
