"""Checkpoints after their fixes: by ``ckptdoctor fix``, and by the plainest application of the same edits.

The plain one is what the real one is compared with. It reads files whole, changes and writes them, and keeps no
formatting; what was there before must be what the edit says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.journal import HOME
from ckptdoctor.fixing.plan import Plan
from ckptdoctor.model import (
    DirRename,
    Edit,
    FileDrop,
    FileMove,
    FileWrite,
    JsonDrop,
    JsonSet,
    MetaSet,
    Target,
    TensorRename,
    TensorView,
)
from ckptdoctor.sources import open_source
from tests.observe.cases import Case, materialise, sha256
from tests.observe.container import Shard, Tensor, read_shard, write_shard
from tests.support.shipped import planner

INDEX = "model.safetensors.index.json"


class Mended(NamedTuple):
    """What ``ckptdoctor fix --yes --unsafe`` left."""

    directory: Path
    rules: tuple[str, ...]
    """Those whose findings were repaired, in order."""
    plan: Plan


def mend(directory: Path, targets: list[Target], rules: Sequence[str] = ()) -> Mended:
    """Repair a checkpoint as ``ckptdoctor fix --yes --unsafe`` does; only what ``rules`` find, where some are named."""
    plan = planner(open_source(str(directory)), targets, unsafe=True, rules=rules).plan()
    done = commit(str(directory), plan.changes, "test").root if plan.changes else str(directory)
    return Mended(Path(done), tuple(step.finding.rule for step in plan.steps), plan)


def maker(target_of: Mapping[str, Target]) -> Callable[[Case, Path], Path]:
    """Return what makes the checkpoint of a case after all its fixes, each for its target by case."""
    return lambda case, into: mend(materialise(case, into), [target_of[case.id]]).directory


def apply(directory: Path, edits: Iterable[Edit]) -> Path:
    """Apply ``edits`` in order; AssertionError where something else is there than they say."""
    for edit in edits:
        if isinstance(edit, DirRename):
            directory = directory.rename(directory.parent / edit.to)
        else:
            _apply(directory, edit)
    return directory


def _apply(directory: Path, edit: Edit) -> None:
    if isinstance(edit, JsonSet | JsonDrop):
        _edit_json(directory / edit.file, edit)
    elif isinstance(edit, TensorRename | TensorView | MetaSet):
        _edit_shard(directory, edit)
    elif isinstance(edit, FileWrite):
        path = directory / edit.file
        assert (sha256(path) if path.exists() else None) == edit.was
        path.write_bytes(edit.content)
    elif isinstance(edit, FileMove):
        assert not (directory / edit.to).exists()
        (directory / edit.file).rename(directory / edit.to)
    elif isinstance(edit, FileDrop):
        data = (directory / edit.file).read_bytes()
        assert len(data) == edit.was
        (directory / edit.file).write_bytes(data[: edit.size])


def _edit_json(path: Path, edit: JsonSet | JsonDrop) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    *parents, key = [part.replace("~1", "/").replace("~0", "~") for part in edit.pointer.split("/")[1:]]
    place: dict[str, Any] = document
    for parent in parents:
        place = place[parent]
    assert ((place[key],) if key in place else ()) == edit.was
    if isinstance(edit, JsonSet):
        place[key] = edit.value
    else:
        del place[key]
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def _edit_shard(directory: Path, edit: TensorRename | TensorView | MetaSet) -> None:
    path = directory / edit.file
    shard = read_shard(path)
    tensors, metadata = dict(shard.tensors), shard.metadata
    if isinstance(edit, MetaSet):
        assert (metadata or {}).get(edit.key) == edit.was
        kept = {key: value for key, value in (metadata or {}).items() if key != edit.key}
        metadata = kept if edit.value is None else {**kept, edit.key: edit.value}
    elif isinstance(edit, TensorView):
        tensor = tensors[edit.tensor]
        assert (tensor.dtype, tensor.shape) == edit.was
        tensors[edit.tensor] = Tensor(edit.dtype, edit.shape, tensor.data)
    else:
        assert edit.to not in tensors
        tensors[edit.to] = tensors.pop(edit.tensor)
        index = directory / INDEX
        if index.exists():
            document = json.loads(index.read_text(encoding="utf-8"))
            document["weight_map"][edit.to] = document["weight_map"].pop(edit.tensor)
            index.write_text(json.dumps(document, indent=2), encoding="utf-8")
    write_shard(path, Shard(metadata, tensors))


def meaning(directory: Path) -> str:
    """SHA-256 of what a checkpoint says, however it is written."""
    return hashlib.sha256(json.dumps(said(directory), sort_keys=True).encode()).hexdigest()


def said(directory: Path) -> dict[str, object]:
    """What a checkpoint says: its name, and JSON values, tensors or other content by file."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and HOME not in path.parts)
    return {"": directory.name, **{path.relative_to(directory).as_posix(): _content(path) for path in files}}


def _content(path: Path) -> object:
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".safetensors":
            shard = read_shard(path)
            data = [
                [n, t.dtype, list(t.shape), hashlib.sha256(t.data).hexdigest()]
                for n, t in shard.tensors.items()
            ]
            header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
            excess = path.stat().st_size - header - sum(len(tensor.data) for tensor in shard.tensors.values())
            return [shard.metadata, sorted(data, key=str), excess]
    except (ValueError, KeyError, AttributeError):
        pass  # it is not what its name says: its bytes are all there is to compare
    return sha256(path)
