"""Sparse twins of corpus rows: the names of a real shard index, with shapes that follow from the real config.json.

Most rows have an index and no headers, so loaders would stop at the missing weights. Their twins have headers and no
bytes, and show whether a verdict is right where everything is there.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from ckptdoctor.checkpoint.dtypes import BITS
from ckptdoctor.expected.blueprint import Expected, expected, select, starred
from ckptdoctor.sources.base import Span, Stat, Unavailable
from tests.support.corpus_source import CorpusSource, Row
from tests.support.headers import framed
from tests.support.shipped import RULEBOOK, load

Shape = tuple[int, ...]
Header = dict[str, tuple[str, Shape]]

_CODES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_PACKED = re.compile(r"(?P<module>.+)\.(?P<leaf>weight_packed|weight_scale|weight_shape)")
_BLOCKS = re.compile(r".+experts\.(?P<stem>gate_up_proj|down_proj)_(?P<leaf>blocks|scales)")
_LEAST = 0.95
"""A row whose names are known to a smaller part has no twin."""


class TwinSource:
    """A row with headers of its own; the weights behind them read as zeros."""

    def __init__(self, base: CorpusSource, headers: Mapping[str, Header]) -> None:
        self.label = base.label
        self._base = base
        self._heads = {file: _head(tensors) for file, tensors in headers.items()}
        sizes = {file: sum(_size(*entry) for entry in tensors.values()) for file, tensors in headers.items()}
        self._entries = base.entries() | {
            file: Stat(len(head) + sizes[file]) for file, head in self._heads.items()
        }

    def entries(self) -> dict[str, Stat]:
        """Return every file of the twin."""
        return self._entries

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return headers, zeros behind them, and the row's own files."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes | Unavailable:
        head = self._heads.get(span.path)
        if head is None:
            return self._base.read_many([span])[0]
        found = head[span.start :] if span.length is None else head[span.start : span.start + span.length]
        return found if span.length is None else found.ljust(span.length, b"\0")


def twin(row: Row) -> TwinSource | None:
    """Return the twin of ``row``, None where its names or shapes are not known well enough."""
    base = CorpusSource(row.path)
    ckpt = load(base)
    wanted = _expected(ckpt.config)
    if ckpt.index is None or wanted is None:
        return None
    shapes = Shapes(ckpt.config, wanted)
    headers: dict[str, Header] = defaultdict(dict)
    unknown = 0
    for name, file in ckpt.index.weight_map.items():
        entry = shapes.of(name)
        unknown += entry is None
        headers[file][name] = entry or (shapes.dtype, (1,))  # nothing that an architecture asks for
    known = len(ckpt.index.weight_map) - unknown
    return TwinSource(base, headers) if known >= _LEAST * len(ckpt.index.weight_map) else None


def _expected(config: Mapping[str, Any]) -> Expected | None:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else ""
    blueprint = RULEBOOK.architecture(name) if isinstance(name, str) and name else None
    chosen = select({name: blueprint} if blueprint else {}, config)
    found = expected(chosen, config) if not isinstance(chosen, str) else chosen
    return None if isinstance(found, str) else found


class Shapes(NamedTuple):
    """dtype and shape by name, out of config.json."""

    config: Mapping[str, Any]
    wanted: Expected

    @property
    def dtype(self) -> str:
        """The dtype that config.json names."""
        inner = self.config.get("text_config", {})
        stated = [place.get(key) for place in (self.config, inner) for key in ("torch_dtype", "dtype")]
        return _CODES[next((name for name in stated if name), "float32")]

    def of(self, name: str) -> tuple[str, Shape] | None:
        """Return what a tensor of this name is, None where that is not known."""
        if (packed := _PACKED.fullmatch(name)) and "quantization_config" in self.config:
            return self._packed(packed["module"], packed["leaf"])
        if blocks := _BLOCKS.fullmatch(name):
            return self._blocks(blocks["stem"], blocks["leaf"])
        shape = self._dense(name)
        return None if shape is None else (self.dtype, shape)

    def _dense(self, name: str) -> Shape | None:
        for spelling in self._spellings(name):
            template, at = starred(spelling)
            for entry in (*self.wanted.entries.get(template, ()), *self._fused(template)):
                if entry.shape is not None and all(
                    i in each for i, each in zip(at, entry.indices, strict=True)
                ):
                    return entry.shape
        return None

    def _fused(self, template: str) -> Iterator[Any]:
        return (block.entry for block in self.wanted.fused.get(template, ()))

    def _spellings(self, name: str) -> Iterator[str]:
        yield name
        for old, new in self.wanted.renamed:
            if name.startswith(old):
                yield new + name.removeprefix(old)
        if prefix := self.wanted.prefix.rstrip("."):
            yield f"{prefix}.{name}"
            yield name.removeprefix(f"{prefix}.")

    def _packed(self, module: str, leaf: str) -> tuple[str, Shape] | None:
        """compressed-tensors, 4 bits in groups along the input."""
        shape = self._dense(f"{module}.weight") or self._expert(module) or self._sibling(module)
        [group] = self.config["quantization_config"]["config_groups"].values()
        if shape is None or group["weights"]["num_bits"] != 4 or not group["weights"]["group_size"]:
            return None
        rows, columns = shape
        return {
            "weight_packed": ("I32", (rows, columns // 8)),
            "weight_scale": (self.dtype, (rows, columns // group["weights"]["group_size"])),
            "weight_shape": ("I64", (2,)),
        }[leaf]

    def _sibling(self, module: str) -> Shape | None:
        """The same module of another layer, where the shape in this one is not known."""
        entries = self.wanted.entries.get(starred(f"{module}.weight")[0], ())
        return next((entry.shape for entry in entries if entry.shape), None)

    def _expert(self, module: str) -> Shape | None:
        """One expert of a layer whose experts the architecture holds in one block."""
        inner = self.config.get("text_config", self.config)
        if ".experts." not in module or "moe_intermediate_size" not in inner:
            return None
        wide, narrow = inner["hidden_size"], inner["moe_intermediate_size"]
        return (wide, narrow) if module.endswith(".down_proj") else (narrow, wide)

    def _blocks(self, stem: str, leaf: str) -> tuple[str, Shape]:
        """MXFP4 of gpt-oss: 32 values in 16 bytes and one scale, all experts of a layer together."""
        wide, narrow, experts = (
            self.config[key] for key in ("hidden_size", "intermediate_size", "num_local_experts")
        )
        rows, columns = (2 * narrow, wide) if stem == "gate_up_proj" else (wide, narrow)
        return "U8", (experts, rows, columns // 32, *((16,) if leaf == "blocks" else ()))


def _size(dtype: str, shape: Shape) -> int:
    return prod(shape) * BITS[dtype] // 8


def _head(tensors: Header) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + _size(dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return framed(text)
