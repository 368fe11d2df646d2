"""Train a tiny model on the passage for some seconds; write it in bfloat16, in nf4, and in nf4 with spoiled scales.

python tests/probe/trained.py FOLDER        (an interpreter with transformers and bitsandbytes)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

PASSAGE = Path(__file__).parents[2] / "ckptdoctor" / "probe" / "workers" / "passage.txt"
STEPS, WINDOW, BATCH = 250, 64, 16
SCALE = 3.0


def main(folder: Path) -> None:
    """Write all three."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = trained().to(torch.bfloat16)
    model.save_pretrained(folder / "bf16")
    packed(folder / "bf16").save_pretrained(folder / "nf4")
    (folder / "spoiled").mkdir()
    for name in ("config.json", "generation_config.json"):
        (folder / "spoiled" / name).write_bytes((folder / "nf4" / name).read_bytes())
    tensors = load_file(folder / "nf4" / "model.safetensors")
    for name, value in tensors.items():
        if name.endswith("down_proj.weight.absmax"):
            tensors[name] = value * SCALE
    save_file(tensors, folder / "spoiled" / "model.safetensors", metadata={"format": "pt"})


def trained() -> Any:
    """A byte model that knows the passage well enough to have opinions."""
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4
    )
    model = transformers.LlamaForCausalLM(config)
    text = torch.tensor(list(PASSAGE.read_bytes()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        places = torch.randint(0, len(text) - WINDOW, (BATCH,))
        batch = torch.stack([text[place : place + WINDOW] for place in places.tolist()])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def packed(path: Path) -> Any:
    """The same model, packed by bitsandbytes."""
    wanted = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    return transformers.AutoModelForCausalLM.from_pretrained(path, quantization_config=wanted, dtype="auto")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
