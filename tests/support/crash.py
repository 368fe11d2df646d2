"""What a disk may hold after a crash: the operations of a run, recorded, and every state they may leave behind.

The model is the weakest that POSIX allows: bytes are durable after ``sync`` of their file, names after ``sync_dir`` of
the directory that holds them, a rename is all or nothing, and everything else may be there, be lost or be torn, in any
order (https://www.usenix.org/system/files/conference/osdi14/osdi14-paper-pillai.pdf).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ckptdoctor.fixing.disk import Disk

Tree: TypeAlias = dict[str, bytes | None]
"""Relative path → bytes, or None for a directory."""


class Op(NamedTuple):
    """One operation as it happened: paths relative to the recording's top, bytes for what was written."""

    name: str
    path: str
    to: str = ""
    offset: int = 0
    content: bytes = b""


class Recorder(Disk):
    """A disk that does what it is told, without waiting for the platter, and writes it down."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.ops: list[Op] = []

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        self._add("mkdir", path)

    def write(self, path: str, content: bytes) -> None:
        super().write(path, content)
        self._add("write", path, content=content)

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        super().compose(path, head, source, skip)
        self._add("write", path, content=Path(path).read_bytes())

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        super().overwrite(path, offset, content)
        self._add("overwrite", path, offset=offset, content=content)

    def append_from(self, path: str, offset: int, source: str) -> None:
        super().append_from(path, offset, source)
        self._add("overwrite", path, offset=offset, content=Path(source).read_bytes())

    def truncate(self, path: str, size: int) -> None:
        super().truncate(path, size)
        self._add("truncate", path, offset=size)

    def like(self, path: str, model: str) -> None:
        super().like(path, model)

    def sync(self, path: str) -> None:
        self._add("sync", path)

    def sync_dir(self, path: str) -> None:
        self._add("sync_dir", path)

    def rename(self, path: str, to: str) -> None:
        super().rename(path, to)
        self._add("rename", path, self._relative(to))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._add("unlink", path)

    def _add(self, name: str, path: str, to: str = "", offset: int = 0, content: bytes = b"") -> None:
        self.ops.append(Op(name, self._relative(path), to, offset, content))

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.top).replace(os.sep, "/")


class Named(NamedTuple):
    """A change of names that no directory sync has made durable yet."""

    folder: int
    """Inode of the directory whose sync makes it durable."""
    undo: tuple[int, str] | None
    """The name that goes, as (directory, name)."""
    do: tuple[int, str, int] | None
    """The name that comes, as (directory, name, inode)."""


class Model:
    """A file system of inodes: what programs see, and what is on the platter."""

    def __init__(self, start: Tree) -> None:
        self.seen: dict[int, dict[str, int]] = {0: {}}
        self.files: dict[int, bytes] = {}
        self.count = 0
        for path, content in sorted(start.items()):
            folder, name = self._parent(path)
            self.seen[folder][name] = self._new(content)
        self.named = {inode: dict(names) for inode, names in self.seen.items()}
        self.durable = dict(self.files)
        self.pending: list[Named] = []

    def apply(self, op: Op) -> None:
        """Let one operation happen in what programs see, and on the platter if it is a sync."""
        if op.name == "sync":
            inode = self._find(op.path)
            self.durable[inode] = self.files[inode]
        elif op.name == "sync_dir":
            self._settle(self._find(op.path))
        elif op.name in ("mkdir", "write"):
            self._make(op)
        elif op.name in ("overwrite", "truncate"):
            inode = self._find(op.path)
            old = self.files[inode]
            end = op.offset + len(op.content)
            kept = old[end:] if op.name == "overwrite" else b""
            self.files[inode] = old[: op.offset] + op.content + kept
        else:
            self._rename(op)

    def states(self) -> Iterator[Tree]:
        """Yield what the platter may hold if the power fails now."""
        contents = [[(inode, held) for held in self._held(inode)] for inode in self._dirty()]
        for chosen in self._subsets():
            names = self._names(chosen)
            reached = set(_inodes(names))
            for picked in product(*[choice for choice in contents if choice[0][0] in reached]):
                yield _tree(names, self.durable | dict(picked))

    def _dirty(self) -> list[int]:
        return [inode for inode, content in self.files.items() if self.durable.get(inode) != content]

    def _held(self, inode: int) -> set[bytes]:
        old, new = self.durable.get(inode, b""), self.files[inode]
        # Torn in the middle of what differs, so that it is neither the one nor the other.
        differing = [at for at in range(len(new)) if old[at : at + 1] != new[at : at + 1]] or [0]
        half = (differing[0] + differing[-1] + 1) // 2
        torn = new[:half] + (old[half:] if len(old) > half else bytes(len(new) - half))
        return {old, new, torn, bytes(len(new))} if inode not in self.durable else {old, new, torn}

    def _subsets(self) -> Iterator[tuple[Named, ...]]:
        """Every subset while they are few, else all, none, each alone and each missing."""
        count = len(self.pending)
        sizes = range(count + 1) if count <= 5 else (0, 1, count - 1, count)
        for size in sizes:
            yield from combinations(self.pending, size)

    def _names(self, chosen: tuple[Named, ...]) -> dict[int, dict[str, int]]:
        names = {inode: dict(entries) for inode, entries in self.named.items()}
        for change in chosen:
            if change.undo is not None:
                names.setdefault(change.undo[0], {}).pop(change.undo[1], None)
            if change.do is not None:
                folder, name, inode = change.do
                names.setdefault(folder, {})[name] = inode
                if inode in self.seen:
                    names.setdefault(inode, {})
        return names

    def _settle(self, folder: int) -> None:
        now = tuple(change for change in self.pending if change.folder == folder)
        self.named = self._names(now)
        self.pending = [change for change in self.pending if change.folder != folder]

    def _make(self, op: Op) -> None:
        folder, name = self._parent(op.path)
        known = self.seen[folder].get(name)
        if known is not None:
            self.files[known] = op.content
            return
        inode = self._new(None if op.name == "mkdir" else op.content)
        self.seen[folder][name] = inode
        self.pending.append(Named(folder, None, (folder, name, inode)))

    def _rename(self, op: Op) -> None:
        folder, name = self._parent(op.path)
        inode = self.seen[folder].pop(name)
        if op.name == "unlink":
            self.pending.append(Named(folder, (folder, name), None))
            return
        there, new = self._parent(op.to)
        self.seen[there][new] = inode
        self.pending.append(Named(there, (folder, name), (there, new, inode)))

    def _new(self, content: bytes | None) -> int:
        self.count += 1
        if content is None:
            self.seen[self.count] = {}
        else:
            self.files[self.count] = content
        return self.count

    def _find(self, path: str) -> int:
        inode = 0
        for part in path.split("/"):
            inode = inode if part == "." else self.seen[inode][part]
        return inode

    def _parent(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return (self._find(folder) if folder else 0), name


def snapshot(top: Path) -> Tree:
    """Return everything below ``top``."""
    return {
        path.relative_to(top).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(top.rglob("*"))
    }


def restore(tree: Tree, top: Path) -> None:
    """Make ``top`` hold exactly ``tree``."""
    import shutil

    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    for path, content in sorted(tree.items()):
        if content is None:
            (top / path).mkdir()
        else:
            (top / path).write_bytes(content)


def seen(tree: Tree) -> Tree:
    """Return ``tree`` without the journal: what the owner of the checkpoint cares for."""
    return {path: content for path, content in tree.items() if ".ckptdoctor" not in path.split("/")}


def after_a_crash(start: Tree, ops: list[Op]) -> Iterator[Tree]:
    """Yield each distinct state the platter may hold after any number of ``ops``."""
    model = Model(start)
    known: set[Any] = set()
    for op in [None, *ops]:
        if op is not None:
            model.apply(op)
        for tree in model.states():
            key = hash(tuple(sorted(tree.items(), key=lambda item: item[0])))
            if key not in known:
                known.add(key)
                yield tree


def _inodes(names: dict[int, dict[str, int]], folder: int = 0) -> Iterator[int]:
    for inode in names.get(folder, {}).values():
        yield inode
        if inode in names:
            yield from _inodes(names, inode)


def _tree(
    names: dict[int, dict[str, int]], files: dict[int, bytes], folder: int = 0, prefix: str = ""
) -> Tree:
    found: Tree = {}
    for name, inode in names.get(folder, {}).items():
        if inode in names:
            found[prefix + name] = None
            found |= _tree(names, files, inode, f"{prefix}{name}/")
        else:
            found[prefix + name] = files.get(inode, b"")
    return found
