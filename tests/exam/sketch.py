"""A checkpoint as the exam sees it: a config, and tensors that are each a change of a tensor of the sound model.

One description serves twice: written out with the sound values for a real loader, and as headers alone for us.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

from ckptdoctor.sources.memory import MemorySource
from tests.observe.container import Shard, Tensor, nbytes, read_shard, write_shard

INDEX = "model.safetensors.index.json"
CODES = {"F16": "e", "F32": "f", "F64": "d"}


class Piece(NamedTuple):
    """One stored tensor: what its header says, and where its values are from."""

    dtype: str
    shape: tuple[int, ...]
    origin: str = ""
    """A tensor of the sound model, "" for values that no model has."""
    change: str = ""
    """``transpose``, ``rows``, ``cast DTYPE``, ``integers``, ``other`` (of another model), else as they are."""


class Sketch(NamedTuple):
    """One checkpoint."""

    config: dict[str, Any]
    files: dict[str, dict[str, Piece]]
    index: dict[str, str] | None = None
    """Tensor → file, None where there is no index."""

    @property
    def tensors(self) -> dict[str, Piece]:
        """The tensors of the only file."""
        (only,) = self.files.values()
        return only

    def with_tensors(self, tensors: dict[str, Piece]) -> Sketch:
        """Return this with other tensors in its only file."""
        return self._replace(files=dict.fromkeys(self.files, tensors))


def read(folder: Path) -> Sketch:
    """Return the sketch of a sound model on disk."""
    shard = read_shard(folder / "model.safetensors")
    tensors = {name: Piece(item.dtype, item.shape, name) for name, item in sorted(shard.tensors.items())}
    return Sketch(json.loads((folder / "config.json").read_text()), {"model.safetensors": tensors})


def as_json(sketch: Sketch) -> dict[str, Any]:
    """Return a sound sketch as JSON: name → [dtype, shape]."""
    return {
        "config": sketch.config,
        "tensors": {name: [p.dtype, list(p.shape)] for name, p in sketch.tensors.items()},
    }


def from_json(value: dict[str, Any]) -> Sketch:
    """Return the sketch that ``as_json`` wrote."""
    tensors = {name: Piece(dtype, tuple(shape), name) for name, (dtype, shape) in value["tensors"].items()}
    return Sketch(value["config"], {"model.safetensors": tensors})


def write(sketch: Sketch, sound: Path, into: Path) -> None:
    """Write the checkpoint out with the values of the sound model."""
    values = read_shard(sound / "model.safetensors").tensors
    into.mkdir(parents=True)
    (into / "config.json").write_text(json.dumps(sketch.config, indent=2))
    for file, tensors in sketch.files.items():
        made = {name: _made(piece, values) for name, piece in tensors.items()}
        write_shard(into / file, Shard({"format": "pt"}, made))
    if sketch.index is not None:
        total = sum(nbytes(p.dtype, p.shape) for tensors in sketch.files.values() for p in tensors.values())
        (into / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": sketch.index}))


def _made(piece: Piece, values: dict[str, Tensor]) -> Tensor:
    size = nbytes(piece.dtype, piece.shape)
    if not piece.origin:
        return Tensor(piece.dtype, piece.shape, (b"\x8f\x3f" * size)[:size])  # about 1.1 in bfloat16
    data = values[piece.origin].data
    if piece.change == "transpose":
        rows, columns = values[piece.origin].shape
        width = len(data) // (rows * columns)
        cells = [data[at : at + width] for at in range(0, len(data), width)]
        data = b"".join(cells[row * columns + column] for column in range(columns) for row in range(rows))
    if piece.change == "integers":
        data = b"\1\0\0\0" * (size // 4)
    if piece.change.startswith("cast "):
        floats = struct.unpack(
            f"<{len(data) // 2}f", b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))
        )
        data = struct.pack(f"<{len(floats)}{CODES[piece.dtype]}", *floats)
    if piece.change == "other":
        data = b"\x00\x3e" * (len(data) // 2)
    return Tensor(piece.dtype, piece.shape, (data * (size // max(1, len(data)) + 1))[:size])


def source(sketch: Sketch, label: str) -> MemorySource:
    """Return the checkpoint with headers and no values, but for copies that differ."""
    contents: dict[str, Any] = {"config.json": json.dumps(sketch.config, indent=2).encode()}
    for file, tensors in sketch.files.items():
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        body = bytearray()
        for name, piece in tensors.items():
            begin = len(body)
            body += (b"\1" if piece.change == "other" else b"\0") * nbytes(piece.dtype, piece.shape)
            header[name] = {"dtype": piece.dtype, "shape": piece.shape, "data_offsets": [begin, len(body)]}
        text = json.dumps(header, separators=(",", ":")).encode()
        contents[file] = len(text).to_bytes(8, "little") + text + bytes(body)
    if sketch.index is not None:
        contents[INDEX] = json.dumps({"metadata": {}, "weight_map": sketch.index}).encode()
    return MemorySource(label, contents)
