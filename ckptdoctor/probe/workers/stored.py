"""What the safetensors files of a checkpoint hold: names, dtypes, shapes, schemes, and rows of values on demand.

Independent of ckptdoctor's own parser on purpose, so that an error in one cannot hide in the other. Headers of a
checkpoint that a loader has just read; a broken one ends in an exception, which the caller takes for "not known".
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

PLAIN = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f64"}
FP8 = {"F8_E4M3": "fp8", "F8_E5M2": "fp8-e5m2"}
LEAVES = ("weight", "qweight", "weight_packed")
STATE = ".quant_state.bitsandbytes__"
SMALL = 1 << 20
"""Bytes beyond which a quant_state is not read."""


class Entry(NamedTuple):
    """One stored tensor."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file."""
    nbytes: int


class Stored:
    """The tensors of one directory."""

    def __init__(self, directory: Path) -> None:
        self.entries: dict[str, Entry] = {}
        for path in sorted(directory.glob("*.safetensors")):
            self.entries |= read_header(path)
        self.method = declared(directory)
        self.below: dict[str, set[str]] = {}
        """Module, or weight → what follows its name: the leaves of the one, the companions of the other."""
        for name in self.entries:
            module, _, leaf = name.rpartition(".")
            self.below.setdefault(module, set()).add(leaf)
            if ".weight." in name:
                module, _, leaf = name.partition(".weight.")
                self.below.setdefault(module, set()).add(f"weight.{leaf}")
                self.below.setdefault(f"{module}.weight", set()).add(leaf)

    def put_on(self, base: Stored, prefix: str) -> None:
        """Add the tensors of the model that this adapter is put on, under the names that they have there."""
        self.entries = {**{prefix + name: entry for name, entry in base.entries.items()}, **self.entries}
        for owner, leaves in base.below.items():
            self.below.setdefault(prefix + owner, set()).update(leaves)
        self.method = self.method or base.method

    def read(self, name: str, first: int = 0, last: int | None = None) -> bytes:
        """The bytes `first` to `last` of a tensor's data; all of them by default."""
        entry = self.entries[name]
        end = entry.nbytes if last is None else min(last, entry.nbytes)
        with entry.file.open("rb") as file:
            file.seek(entry.start + first)
            return file.read(max(end - first, 0))

    def state(self, weight: str) -> dict[str, Any] | None:
        """The quant_state stored beside a bitsandbytes 4-bit weight; None where there is none that can be read."""
        for leaf in sorted(self.below.get(weight, ())):
            name = f"{weight}.{leaf}"
            if leaf.startswith(STATE[1:]) and self.entries[name].nbytes <= SMALL:
                try:
                    found = json.loads(self.read(name))
                except ValueError:
                    return None
                return found if isinstance(found, dict) else None
        return None

    def bare_codes(self, held: dict[str, str]) -> list[str]:
        """The modules that are held as floats and stored in eight bits, without anything to scale them by."""
        found = []
        for module, scheme in self.schemes().items():
            beside = self.below.get(module, set()) - {"weight", "bias"}
            if scheme in ("u8", "i8", *FP8.values()) and not beside and held.get(module) in PLAIN.values():
                found.append(module)
        return sorted(found)

    def schemes(self) -> dict[str, str]:
        """The scheme of every module that has a weight."""
        found = {}
        for name, entry in self.entries.items():
            module, _, leaf = name.rpartition(".")
            if leaf in LEAVES:
                state = self.state(name) if entry.dtype in ("U8", "BF16", "F16", "F32", "I8") else None
                said = None if state is None else state.get("quant_type")
                found[module] = (
                    f"bnb-{said}" if said else scheme(entry.dtype, self.below.get(module, set()), self.method)
                )
        return found


def scheme(dtype: str, leaves: set[str], method: str) -> str:
    """The scheme of a module, from its weight's dtype, the leaves beside it and the declared method."""
    for leaf in leaves:
        if found := re.fullmatch(r"weight\.quant_state\.bitsandbytes__(nf4|fp4)", leaf):
            return f"bnb-{found[1]}"
    if "SCB" in leaves:
        return "bnb-int8"
    if "qweight" in leaves:
        return "awq" if "awq" in method else "gptq"
    if "weight_packed" in leaves:
        return "ct-packed"
    if dtype == "I8" and any(
        leaf.endswith("weight_scale") for leaf in leaves
    ):  # of experts: w13_weight_scale
        return "int8"
    return PLAIN.get(dtype) or FP8.get(dtype) or dtype.lower()


def read_header(path: Path) -> dict[str, Entry]:
    """The entries of one safetensors file; raises ValueError, KeyError or OSError for what is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path.name}: no safetensors header")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        found[name] = Entry(path, entry["dtype"], tuple(entry["shape"]), 8 + length + first, last - first)
    return found


def declared(directory: Path) -> str:
    """The quant_method of a config.json, "" where there is none."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        return str((config.get("quantization_config") or {}).get("quant_method", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def opened(directory: Path) -> Stored | None:
    """The checkpoint in a directory; None where one of its files cannot be read."""
    try:
        return Stored(directory)
    except Exception:  # whatever is wrong with a broken file, the loader has had its say on it
        return None
