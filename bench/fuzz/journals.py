"""Damaged journals: whatever a ``.ckptdoctor/`` that came with a download holds, nothing beside it changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from ckptdoctor.engine import check_source
from ckptdoctor.fixing.errors import FixError
from ckptdoctor.fixing.records import Entry, Record, written
from ckptdoctor.fixing.recovery import interrupted, recover
from ckptdoctor.fixing.undo import undo
from ckptdoctor.ruledata import Rulebook
from ckptdoctor.sources import open_source, ownership

CONFIG = b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}'


def foreign(root: Path) -> bytes:
    """Return the entry that another machine would have written for ``root``, to act on what lies there and beside."""
    records = (
        Record("replace", "config.json", was="0" * 64, was_size=3, now="1" * 64, now_size=4),
        Record("move", "../beside", "model.safetensors", was="0" * 64, was_size=5),
        Record("create", "config.json", now="1" * 64, now_size=62),
    )
    entry = Entry("0001", "0001", "a title", "open", str(root), root.stat().st_ino, records)
    return written(entry, b"s" * 32)


def reader(top: Path, rulebook: Rulebook) -> tuple[bytes, Callable[[bytes], object]]:
    """Return a journal's text and what reads it, in ``top``; the key lies there too, not with the user's own."""
    own_state = {ownership.VARIABLE: str(top / "state")}
    with patch.dict(os.environ, own_state):
        ownership.key(make=True)
    root = top / "model"
    place = root / ownership.JOURNAL / "0001"
    place.mkdir(parents=True)
    (root / "config.json").write_bytes(CONFIG)
    (top / "beside").write_bytes(b"canary")
    (place / "0.was").write_bytes(b"was")

    def read(text: bytes) -> None:
        with patch.dict(os.environ, own_state):
            tried(text)

    def tried(text: bytes) -> None:
        place.mkdir(parents=True, exist_ok=True)
        (place / "entry.json").write_bytes(text)
        report = check_source(open_source(str(root)), (), rulebook)
        assert [f.rule for f in report.findings].count("container/foreign-journal") == 1, "not told"
        assert interrupted(str(root)) == [], "an entry counts"
        recover(str(root))
        for forget in (False, True):
            try:
                undo(str(root), forget=forget)
            except FixError:
                continue
            raise AssertionError("undone")
        assert (root / "config.json").read_bytes() == CONFIG, "config.json changed"
        assert (top / "beside").read_bytes() == b"canary", "a file beside changed"
        assert (place / "entry.json").read_bytes() == text, "the journal changed"

    return foreign(root), read
