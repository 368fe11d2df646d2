"""Load checkpoints in transformers and print how many bytes their weights take: ``[path, bytes, error]`` a line.

    python tests/observe/workers/memory.py PATH...

Counted are parameters and persistent buffers, each memory once, and what bitsandbytes keeps beside a weight. Bytes are
null, and the error is not, for one that does not load.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.remove(str(Path(__file__).parent))  # a neighbour of this file has the name of the package

import torch
import transformers


def held(model: Any) -> int:
    """Bytes of the weights of one model."""
    kept = model.state_dict(keep_vars=True)
    found = {id(tensor): tensor for tensor in kept.values() if isinstance(tensor, torch.nn.Parameter)}
    found |= {id(tensor): tensor for name, tensor in model.named_buffers() if name in kept}
    return sum(size(tensor) + beside(tensor) for tensor in found.values())


def size(tensor: Any) -> int:
    """Bytes of one tensor; of one that is made of several (torchao's), theirs."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(size(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return int(tensor.nbytes)


def beside(weight: Any) -> int:
    """Bytes that bitsandbytes keeps for one weight: scales, and the table of its four-bit numbers."""
    state, scales = getattr(weight, "quant_state", None), getattr(weight, "SCB", None)
    total: int = 0 if scales is None else scales.nbytes
    while state is not None:
        total += state.absmax.nbytes + state.code.nbytes
        state = state.state2
    return total


def main(paths: list[str]) -> None:
    """Measure every checkpoint."""
    transformers.logging.set_verbosity_error()
    for path in paths:
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="auto")
            print(json.dumps([path, held(model), None]), flush=True)
        except Exception as error:
            print(json.dumps([path, None, f"{type(error).__name__}: {error}"[:200]]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
