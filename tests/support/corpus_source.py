"""Rows of a corpus of real checkpoint metadata as sources: names, sizes and headers, no weights.

The corpus is no part of the repository. ``CKPTDOCTOR_CORPUS`` names its directory; tests over it are skipped
without. A row is ``data/<slug>/``: the JSON files as published, ``lfs_pointers.tsv`` (name, sha256, size of weight
files) and ``*.header.json`` (headers of weight files that were measured).
"""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptdoctor.sources.base import Span, Stat, Unavailable
from ckptdoctor.sources.local import LocalSource

_POINTERS = "lfs_pointers.tsv"
_HEADER = ".header.json"
_NOT_WEIGHTS = re.compile(r"NOT-SAFETENSORS size=(?P<size>\d+) first=(?P<head>b'(?:[^'\\]|\\.)*')")
"""In place of a digest: the file was looked at and is something else."""


class Row(NamedTuple):
    """One checkpoint of the corpus."""

    slug: str
    path: Path
    kind: str
    """What PROVENANCE.tsv calls its class: "real model metadata (…)", "real but broken or placeholder", …"""


def rows() -> list[Row]:
    """Return the rows of the corpus, none when there is no corpus here."""
    root = os.environ.get("CKPTDOCTOR_CORPUS")
    if not root:
        return []
    with (Path(root) / "PROVENANCE.tsv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [Row(row["slug"], Path(root) / "data" / row["slug"], row["class"] or "") for row in listed]
    return [row for row in found if row.path.is_dir()]


class CorpusSource:
    """One row: local files, plus weights of which only the size, or the size and the header, are known."""

    def __init__(self, path: Path) -> None:
        self.label = path.name
        self._local = LocalSource(path)
        self._heads: dict[str, bytes] = {}
        self._entries = self._local.entries()
        for name in [*self._entries]:
            if name.rpartition("/")[2] == _POINTERS:
                self._entries.pop(name)
                self._add_pointers(path / name, name.removesuffix(_POINTERS))
        for name in [*self._entries]:
            if name.endswith(_HEADER):
                self._entries.pop(name)
                if name.removesuffix(_HEADER) not in self._local.entries():
                    self._add_header(path / name, name.removesuffix(_HEADER))

    def entries(self) -> dict[str, Stat]:
        """Return every file of the row."""
        return dict(sorted(self._entries.items()))

    def read_many(self, spans: Sequence[Span]) -> list[bytes | Unavailable]:
        """Return what bytes there are: local files, and measured headers."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes | Unavailable:
        head = self._heads.get(span.path)
        if head is None:
            return self._local.read_many([span])[0]
        if head and span.start >= len(head):
            return Unavailable(f"{span.path}: only its header is known")
        return head[span.start : None if span.length is None else span.start + span.length]

    def _add_pointers(self, path: Path, prefix: str) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                measured = _NOT_WEIGHTS.match(row["oid"])
                if measured:
                    self._heads[prefix + row["name"]] = ast.literal_eval(measured["head"])
                    self._entries[prefix + row["name"]] = Stat(int(measured["size"]))
                if not row["size"]:  # the listing has the name only
                    continue
                stat = Stat(int(row["size"]), "absent", row["oid"])
                self._entries.setdefault(prefix + row["name"], stat)

    def _add_header(self, path: Path, name: str) -> None:
        measured = json.loads(path.read_text(encoding="utf-8"))
        text = json.dumps(measured["header"], separators=(",", ":"), ensure_ascii=False).encode()
        text = text.ljust(measured["__header_len__"])
        self._heads[name] = struct.pack("<Q", len(text)) + text
        self._entries[name] = Stat(measured["__file_size__"] + len(text) - measured["__header_len__"])


def broken(row: Row) -> bool:
    """Whether the row's files are known to be damaged or placeholders."""
    return "broken" in row.kind or "toy" in row.kind


def sound_rows() -> Iterator[Row]:
    """Yield the rows that are metadata of real, working checkpoints."""
    return (row for row in rows() if not broken(row))
