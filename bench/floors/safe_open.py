"""safetensors' own reader: open every shard and take every tensor's dtype and shape."""

import sys
from pathlib import Path

from safetensors import safe_open

for path in sorted(Path(sys.argv[1]).glob("*.safetensors")):
    with safe_open(str(path), framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
            part = file.get_slice(name)
            part.get_dtype(), part.get_shape()
