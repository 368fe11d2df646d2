"""Load a synthetic checkpoint of gigabytes in transformers and compare the memory it takes with the prediction.

    python -m tests.memory.rss --python path/to/venv/bin/python [--gb 2.2]

By hand, for it takes minutes and as much memory. Counted is what the process has more of once every weight was read:
pages of its own and pages of the file, which transformers may leave mapped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ckptdoctor.memory.weights import weights
from ckptdoctor.sources import open_source
from tests.memory.made import tensors
from tests.support.headers import BYTES
from tests.support.shipped import ask, parse_target

TOLERANCE = 0.1
WORKER = """
import gc, json, sys
import torch, transformers
transformers.logging.set_verbosity_error()
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
small, large = sys.argv[1:]
transformers.AutoModelForCausalLM.from_pretrained(small, dtype="auto")
gc.collect()
before = rss()
model = transformers.AutoModelForCausalLM.from_pretrained(large, dtype="auto")
touched = sum(float(weight.detach().flatten()[::1024].float().sum()) for weight in model.parameters())
gc.collect()
print(json.dumps({"rss": rss() - before, "held": sum(weight.nbytes for weight in model.parameters())}))
"""
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
LAYER_BYTES = 2 * (2048 * 2048 * 3 + 3 * 2048 * 8192)


def main() -> int:
    """Make both checkpoints, load them, compare; the exit status is 1 where they differ by more than a tenth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="an interpreter that has transformers")
    parser.add_argument("--gb", type=float, default=2.2, help="gigabytes of weights")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small = written(Path(folder, "small"), 1)
        large = written(Path(folder, "large"), max(1, round((args.gb * 1e9 - 2.6e8) / LAYER_BYTES)))
        subject = ask(open_source(str(large)), parse_target("transformers==5.23.0"))
        predicted = weights(*subject, device="cpu").total
        command = [args.python, "-c", WORKER, str(small), str(large)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    assert predicted is not None
    off = measured["rss"] / predicted - 1
    told = (
        f"predicted {predicted:,} · tensors {measured['held']:,} · memory {measured['rss']:,} ({off:+.1%})\n"
    )
    sys.stdout.write(told)
    return 0 if measured["held"] == predicted and abs(off) <= TOLERANCE else 1


def written(folder: Path, layers: int) -> Path:
    """Write a whole model whose numbers are no zeros, a tensor at a time."""
    folder.mkdir()
    config = {**CONFIG, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = tensors(config)
    assert not isinstance(found, str), found
    header, offset = {}, 0
    for name, shape in found.items():
        size = BYTES["BF16"]
        for dim in shape:
            size *= dim
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    chunk = b"\x12\x3c" * (1 << 20)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for left in range(offset, 0, -len(chunk)):
            file.write(chunk[: min(left, len(chunk))])
    return folder


if __name__ == "__main__":
    sys.exit(main())
