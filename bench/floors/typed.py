"""The floor: typed msgspec decoding of every header and of the index, and nothing else, as a whole process."""

import gc
import struct
import sys
from pathlib import Path

import msgspec


class Tensor(msgspec.Struct, gc=False):
    """One header entry."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)


class Index(msgspec.Struct):
    """A shard index."""

    weight_map: dict[str, str]


gc.disable()
folder = Path(sys.argv[1])
header = msgspec.json.Decoder(dict[str, Tensor])
shards = {}
for path in sorted(folder.glob("*.safetensors")):
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        shards[path.name] = header.decode(file.read(length))
index = folder / "model.safetensors.index.json"
if index.exists():
    names = msgspec.json.decode(index.read_bytes(), type=Index)
