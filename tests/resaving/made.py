"""Checkpoints for these tests, and what a re-save of them must hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ckptdoctor import ruledata
from ckptdoctor.resaving.copying import Copier
from ckptdoctor.resaving.nouns import Plan
from ckptdoctor.resaving.place import Place, fitting
from ckptdoctor.resaving.planning import Wanted
from ckptdoctor.resaving.resave import proposed
from ckptdoctor.resaving.writing import Writer
from ckptdoctor.sources.local import LocalSource
from tests.conftest import ROOT

KEPT = Wanted()
"""The layout that is there, every tensor by its name."""
SOUND = ROOT / "fixtures" / "sound"


def shard(path: Path, tensors: Mapping[str, tuple[str, list[int], bytes]], gap: int = 0) -> None:
    """Write a safetensors file; ``gap`` bytes that no tensor covers follow each tensor."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content + b"\xee" * gap
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def tensors(root: Path) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """Return every tensor of the safetensors files in ``root`` with the digest of its bytes, read independently."""
    found: dict[str, tuple[str, tuple[int, ...], str]] = {}
    for path in sorted(root.glob("*.safetensors")):
        raw = path.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            assert name not in found
            digest = hashlib.sha256(raw[start + begin : start + end]).hexdigest()
            found[name] = (entry["dtype"], tuple(entry["shape"]), digest)
    return found


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below ``root``."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def planned(root: Path, out: Path, wanted: Wanted = KEPT) -> tuple[LocalSource, Plan, Place]:
    """Return the source, plan and place of a re-save, not proven for any loader."""
    source = LocalSource(str(root))
    place = fitting(str(root), str(out))
    return source, proposed(source, str(out), wanted, (), ruledata.load()).plan, place


def resaved(
    root: Path, out: Path, wanted: Wanted = KEPT, *, resume: bool = False, disk: Copier | None = None
) -> None:
    """Re-save ``root`` to ``out``."""
    source, plan, place = planned(root, out, wanted)
    Writer(plan, place, source.descriptor, lambda done, total: None, disk).write(resume=resume, verify=True)
