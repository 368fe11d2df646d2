"""What a disk may hold after a crash: the operations of a run, recorded, and every state they may leave behind.

The model is the weakest that POSIX allows: bytes are durable after ``sync`` of their file, names after ``sync_dir`` of
the directory that holds them, a rename is all or nothing, and everything else may be there, be lost or be torn, in any
order (https://www.usenix.org/system/files/conference/osdi14/osdi14-paper-pillai.pdf).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

Tree: TypeAlias = dict[str, bytes | None]
"""Relative path → bytes, or None for a directory."""


class Op(NamedTuple):
    """One operation as it happened: paths relative to the recording's top, bytes for what was written."""

    name: str
    path: str
    to: str = ""
    offset: int = 0
    content: bytes = b""


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
        if op.name in ("unlink", "rmdir"):
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
    """Make ``top`` hold exactly ``tree``; its one directory stays the one it was, with its inode."""
    top.mkdir(exist_ok=True)
    there = [path for path in top.iterdir() if path.is_dir()]
    for path in top.iterdir():
        if path not in there:
            path.unlink()
    for path in there:
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    names = [path for path, content in tree.items() if content is None and "/" not in path]
    for old, name in zip(there, names, strict=False):
        old.rename(top / name)
    for path, content in sorted(tree.items()):
        if content is None:
            (top / path).mkdir(exist_ok=True)
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


def visible(start: Tree, ops: list[Op]) -> Tree:
    """Return what programs see after ``ops``."""
    model = Model(start)
    for op in ops:
        model.apply(op)
    return _tree(model.seen, model.files)


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
