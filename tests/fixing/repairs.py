"""A small checkpoint and every kind of change to it, alone, by twos and threes and all at once."""

from __future__ import annotations

import struct
from itertools import combinations
from pathlib import Path

from ckptdoctor.fixing import journal
from ckptdoctor.fixing.changes import Change, Move, Patch, Rename, Replace, Splice, Truncate
from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.recovery import recover
from ckptdoctor.fixing.undo import undo

from ..support.crash import Op, Tree, restore, seen, snapshot
from ..support.disks import Lazy, Recorder

CONFIG, INDEX = b'{"a": 1}\n', b'{"weight_map": {"x": "m.safetensors"}}\n'
HEAD = struct.pack("<Q", 24) + b'{"a":{}}'.ljust(24)
OTHER = struct.pack("<Q", 24) + b'{"b":{}}'.ljust(24)
LONGER = struct.pack("<Q", 40) + b'{"a-longer-name":{}}'.ljust(40)
DATA, TAIL = bytes(range(64)), b"trailing!"
MODEL: Tree = {
    "model": None,
    "model/config.json": CONFIG,
    "model/index.json": INDEX,
    "model/m.safetensors": HEAD + DATA + TAIL,
    "model/n.safetensors": HEAD + DATA[::-1],
    "model/original": None,
    "model/original/consolidated.safetensors": DATA,
    "model/spare.json": b"{}",
}

PARTS: dict[str, Change] = {
    "cut": Truncate("m.safetensors", len(HEAD + DATA), len(HEAD + DATA + TAIL)),
    "patch": Patch("m.safetensors", OTHER, HEAD),
    "splice": Splice("n.safetensors", LONGER, HEAD),
    "replace": Replace("config.json", b'{"a": 2, "b": 3}\n', CONFIG),
    "move": Move("spare.json", "spare.json.unused"),
    "create": Replace("new.json", b'{"new": true}\n', None),
    "rename": Rename("model-bnb-4bit"),
}
_INDEX = Replace("index.json", b'{"weight_map": {"a": "m.safetensors"}}', INDEX)
_UP = Move("original/consolidated.safetensors", "three.safetensors")
_WHOLE = Splice("m.safetensors", LONGER, HEAD)

SPECIAL: dict[str, tuple[Change, ...]] = {
    "all": tuple(PARTS.values()),
    "splice to a shorter head": (Splice("n.safetensors", HEAD[:8] + b"{}", HEAD),),
    "move below": (Move("original/consolidated.safetensors", "original/consolidated.safetensors.unused"),),
    "move up": (_UP,),
    "two texts": (PARTS["replace"], _INDEX),
    "two patches": (PARTS["patch"], Patch("n.safetensors", OTHER, HEAD)),
    "two splices and the index": (PARTS["splice"], _WHOLE, _INDEX),
    "cut and splice": (PARTS["cut"], _WHOLE),
    "cut, splice and move": (PARTS["cut"], _WHOLE, Move("m.safetensors", "model.safetensors")),
    "cut, patch and move": (PARTS["cut"], PARTS["patch"], Move("m.safetensors", "model.safetensors")),
    "move and take its name": (
        Move("config.json", "config.json.unused"),
        Replace("config.json", b"{}", None),
    ),
    "replace and move": (PARTS["replace"], Move("config.json", "config.json.unused")),
    "two moves": (PARTS["move"], _UP),
}
_SIZES = (1, 2, 3)
RUNS: dict[str, tuple[Change, ...]] = {
    **{
        "+".join(names): tuple(PARTS[name] for name in names)
        for size in _SIZES
        for names in combinations(PARTS, size)
    },
    **SPECIAL,
}
"""76 repairs, and as many undoings."""
FEW = [*PARTS, "all"]


def place(top: Path) -> str:
    """Return the checkpoint's directory, whatever its name is."""
    (root,) = [path for path in top.iterdir() if path.is_dir()]
    return str(root)


def record(top: Path, changes: tuple[Change, ...]) -> tuple[list[Op], Tree, list[Op], Tree]:
    """Return the operations of a repair, what it made, and those of its undoing and what that made."""
    restore(MODEL, top)
    doing, undoing = Recorder(top), Recorder(top)
    commit(str(top / "model"), changes, "t", doing)
    repaired = snapshot(top)
    undo(place(top), disk=undoing)
    return doing.ops, repaired, undoing.ops, snapshot(top)


def recovered(top: Path) -> Tree:
    """Recover as the next run does, twice, and return what the owner sees. Nothing half done may be left of ours."""
    for _ in range(2):
        recover(place(top), Lazy())
    left = snapshot(top)
    root = place(top)
    kept = journal.entries(root)
    assert all(entry.state == "committed" for entry in kept)
    assert bool(kept) == any(".ckptdoctor" in path for path in left), sorted(left)
    assert not [path for path in left if path.endswith((".new", ".back"))]
    return seen(left)
