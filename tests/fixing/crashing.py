"""A model of a file system that loses what was not made durable.

``sync`` makes the bytes of a file durable, ``sync_dir`` the names in a directory. At a crash every write that was not
synced may be there, lost or torn, and every name that was not synced may be there or not, independently of the
others; a rename is one step (as journaling file systems have it) and durable with the directory it leads to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

from ckptdoctor.fixing.disk import Disk

Op = tuple[Any, ...]


class Recorder(Disk):
    """A disk that does everything and remembers it, with paths relative to ``parent``."""

    def __init__(self, parent: Path) -> None:
        self._parent = os.fspath(parent)
        self.ops: list[Op] = []

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._parent)

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        self.ops.append(("mkdir", self._name(path)))

    def write(self, path: str, content: bytes) -> None:
        super().write(path, content)
        self.ops.append(("write", self._name(path), content))

    def compose(self, path: str, head: bytes, source: str, skip: int) -> None:
        super().compose(path, head, source, skip)
        self.ops.append(("write", self._name(path), Path(path).read_bytes()))

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        super().overwrite(path, offset, content)
        self.ops.append(("overwrite", self._name(path), offset, content))

    def append_from(self, path: str, offset: int, source: str) -> None:
        super().append_from(path, offset, source)
        self.ops.append(("overwrite", self._name(path), offset, Path(source).read_bytes()))

    def truncate(self, path: str, size: int) -> None:
        super().truncate(path, size)
        self.ops.append(("truncate", self._name(path), size))

    def sync(self, path: str) -> None:
        super().sync(path)
        if not Path(path).is_dir():
            self.ops.append(("sync", self._name(path)))

    def sync_dir(self, path: str) -> None:
        super().sync_dir(path)
        self.ops.append(("sync_dir", self._name(path)))

    def rename(self, path: str, to: str) -> None:
        super().rename(path, to)
        self.ops.append(("rename", self._name(path), self._name(to)))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.ops.append(("unlink", self._name(path)))


@dataclass
class Node:
    """A file or a directory, as it is now and as it would be after a crash."""

    entries: dict[str, Node] | None = None
    durable_entries: dict[str, Node] = field(default_factory=dict)
    data: bytes = b""
    durable: bytes = b""
    writes: list[Op] = field(default_factory=list)


Names = list[tuple[Node, str, "Node | None"]]
Tree = dict[str, "bytes | Tree"]


class Machine:
    """The file system below one directory."""

    def __init__(self, tree: Path) -> None:
        self.root = _load(tree)
        self._pending: list[Names] = []

    def do(self, op: Op) -> None:
        """Do one recorded operation."""
        getattr(self, f"_{op[0]}")(*op[1:])

    def crashes(self, limit: int) -> Iterator[Tree]:
        """Yield what may be found after a crash now, at most ``limit`` states."""
        names = list(product((True, False), repeat=min(len(self._pending), 6)))
        dirty = [node for node in _nodes(self.root, self._pending) if node.writes]
        data = list(product(("all", "none", "torn"), repeat=min(len(dirty), 4)))
        for kept, fates in islice(product(names, data), limit):
            groups = [group for group, keep in zip(self._pending, kept, strict=False) if keep]
            fate = {id(node): word for node, word in zip(dirty, fates, strict=False)}
            yield _after(self.root, groups, fate)

    def _at(self, path: str) -> Node:
        node = self.root
        for part in [] if path == "." else path.split("/"):
            assert node.entries is not None
            node = node.entries[part]
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        above, _, name = path.rpartition("/")
        return self._at(above or "."), name

    def _name(self, *changes: tuple[Node, str, Node | None]) -> None:
        for folder, name, node in changes:
            assert folder.entries is not None
            if node is None:
                del folder.entries[name]
            else:
                folder.entries[name] = node
        self._pending.append(list(changes))

    def _mkdir(self, path: str) -> None:
        self._name((*self._parent(path), Node(entries={})))

    def _write(self, path: str, content: bytes) -> None:
        folder, name = self._parent(path)
        assert folder.entries is not None
        if name not in folder.entries:
            self._name((folder, name, Node()))
        node = folder.entries[name]
        node.data = content
        node.writes.append(("write", content))

    def _overwrite(self, path: str, offset: int, content: bytes) -> None:
        node = self._at(path)
        node.data = _over(node.data, offset, content)
        node.writes.append(("overwrite", offset, content))

    def _truncate(self, path: str, size: int) -> None:
        node = self._at(path)
        node.data = node.data[:size]
        node.writes.append(("truncate", size))

    def _sync(self, path: str) -> None:
        node = self._at(path)
        node.durable, node.writes = node.data, []

    def _sync_dir(self, path: str) -> None:
        folder = self._at(path)
        kept = []
        for group in self._pending:
            if group[-1][0] is folder:
                _apply(group)
            else:
                kept.append(group)
        self._pending = kept

    def _rename(self, path: str, to: str) -> None:
        source, old = self._parent(path)
        target, new = self._parent(to)
        assert source.entries is not None
        self._name((source, old, None), (target, new, source.entries[old]))

    def _unlink(self, path: str) -> None:
        folder, name = self._parent(path)
        self._name((folder, name, None))


def _load(path: Path) -> Node:
    if path.is_file():
        return Node(data=path.read_bytes(), durable=path.read_bytes())
    entries = {child.name: _load(child) for child in path.iterdir()}
    return Node(entries=dict(entries), durable_entries=dict(entries))


def _apply(group: Names) -> None:
    for folder, name, node in group:
        if node is None:
            folder.durable_entries.pop(name, None)
        else:
            folder.durable_entries[name] = node


def _nodes(root: Node, pending: list[Names]) -> Iterator[Node]:
    todo, seen = [root, *(node for group in pending for _, _, node in group if node)], set()
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            todo += [*(node.entries or {}).values(), *node.durable_entries.values()]


def _after(root: Node, groups: list[Names], fate: dict[int, str]) -> Tree:
    """Return the tree that is found when just ``groups`` of names made it."""
    extra: dict[int, dict[str, Node | None]] = {}
    for group in groups:
        for folder, name, node in group:
            extra.setdefault(id(folder), {})[name] = node

    def found(node: Node) -> bytes | Tree:
        if node.entries is None:
            return _bytes(node, fate.get(id(node), "all"))
        merged: dict[str, Node | None] = {**node.durable_entries, **extra.get(id(node), {})}
        return {name: found(child) for name, child in merged.items() if child is not None}

    tree = found(root)
    assert isinstance(tree, dict)
    return tree


def _bytes(node: Node, fate: str) -> bytes:
    if fate == "none":
        return node.durable
    data = node.durable
    for number, write in enumerate(node.writes):
        torn = fate == "torn" and number + 1 == len(node.writes)
        if write[0] == "write":
            data = write[1][: len(write[1]) // 2] if torn else write[1]
        elif write[0] == "overwrite":
            data = _over(data, write[1], write[2][: len(write[2]) // 2] if torn else write[2])
        elif not torn:
            data = data[: write[1]]
    return data


def _over(data: bytes, offset: int, content: bytes) -> bytes:
    return data[:offset].ljust(offset, b"\0") + content + data[offset + len(content) :]


def lay_out(tree: Tree, place: Path) -> None:
    """Write ``tree`` below ``place``."""
    place.mkdir()
    for name, child in tree.items():
        if isinstance(child, bytes):
            (place / name).write_bytes(child)
        else:
            lay_out(child, place / name)
