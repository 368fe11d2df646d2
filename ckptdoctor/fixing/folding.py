"""Changes made one after another, as the changes that lead from the first state to the last at once."""

from __future__ import annotations

from collections.abc import Iterable

from .changes import Change, Move, Patch, Rename, Replace, Splice, Truncate


class _File:
    """What has become of one file so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        """Its name now."""
        self.text: Replace | None = None
        self.head: Patch | Splice | None = None
        self.cut: Truncate | None = None


def folded(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return one change of each kind per file, by the names on disk, in the order to do them.

    Cuts come before new heads (a longer head changes the size), edits before moves, new files after them (they may
    take a name that a move set free), the directory last.
    """
    files: dict[str, _File] = {}
    origin: dict[str, str] = {}
    rename: Rename | None = None
    for change in changes:
        if isinstance(change, Rename):
            rename = change
            continue
        first = origin.get(change.file, change.file)
        file = files.setdefault(first, _File(first))
        if isinstance(change, Move):
            origin.pop(change.file, None)
            origin[change.to] = first
            file.name = change.to
        else:
            _add(file, change)
    return (*_in_order(files), *((rename,) if rename else ()))


def _add(file: _File, change: Replace | Patch | Splice | Truncate) -> None:
    if isinstance(change, Replace):
        file.text = change if file.text is None else file.text._replace(content=change.content)
    elif isinstance(change, Truncate):
        file.cut = change if file.cut is None else file.cut._replace(size=change.size)
    else:
        new = change.content if isinstance(change, Patch) else change.head
        was = change.was if file.head is None else file.head.was
        same = len(new) == len(was)
        file.head = Patch(change.file, new, was) if same else Splice(change.file, new, was)


def _in_order(files: dict[str, _File]) -> list[Change]:
    cuts: list[Change] = []
    heads: list[Change] = []
    texts: list[Change] = []
    moves: list[Change] = []
    new: list[Change] = []
    for first, file in files.items():
        if file.cut is not None:
            cuts.append(file.cut._replace(file=first))
        if file.head is not None:
            heads.append(file.head._replace(file=first))
        if file.text is not None and file.text.was is None:
            new.append(file.text._replace(file=file.name))
        else:
            if file.text is not None:
                texts.append(file.text._replace(file=first))
            if file.name != first:
                moves.append(Move(first, file.name))
    return [*cuts, *heads, *texts, *moves, *new]
