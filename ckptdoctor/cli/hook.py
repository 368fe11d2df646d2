"""``ckptdoctor hook``: the changed files of a commit, mapped to their checkpoints, each checked once (pre-commit)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ..sources import pointer
from . import checking, repairing
from .check import options
from .exits import FINDINGS, OK

_SKIPPED = frozenset({".git", ".cache", ".ckptdoctor", "__pycache__"})
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf")
_MARKS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin.index.json",
    "adapter_config.json",
    "pytorch_model.bin",
)
_AT_ONCE = 1000
_MODEL_KEYS = (b'"model_type"', b'"architectures"', b'"quantization_config"')


@click.command(short_help="Check the checkpoints that changed files belong to (for pre-commit).")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--fix", is_flag=True, help="Make safe repairs first, and exit with 1 if there were any.")
@options
def hook(files: tuple[str, ...], fix: bool, **given: Any) -> int:
    """Check the checkpoints that FILEs belong to; files staged for deletion are added by themselves.

    Weights that are Git LFS pointers by .gitattributes are judged from metadata. No checkpoint: exit 0, silently.
    With --fix what is safe is repaired first, for Git to show and for you to stage; `ckptdoctor undo` takes it back.
    """
    found = checkpoints(
        [*files, *_git("diff", "--cached", "--name-only", "--diff-filter=D", "--relative", "-z")]
    )
    if not found:
        return OK
    pointers = frozenset(path for path in found if _kept_by_lfs(path))
    given_options = checking.Options(**given, pointers=pointers, gate=True)
    repaired = fix and repairing.all_safe([path for path in found if path not in pointers], given_options)
    return max(checking.run(found, given_options), FINDINGS if repaired else OK)


def checkpoints(files: Iterable[str]) -> list[str]:
    """Return the checkpoint of each file, sorted: the nearest directory at or above it that is one."""
    found = {
        _spelled(folder)
        for file in files
        if not _SKIPPED & set(Path(file).parts) and (folder := _checkpoint_of(Path(file))) is not None
    }
    return sorted(found)


def _spelled(folder: Path) -> str:
    """Return the path of a checkpoint with its name in it: loaders and rules go by the name, and "." has none."""
    return str(folder) if folder.name else str(Path("..", Path.cwd().name))


def _checkpoint_of(file: Path) -> Path | None:
    return next((folder for folder in file.parents if _is_checkpoint(folder)), None)


def _is_checkpoint(folder: Path) -> bool:
    """Weights, an index or an adapter make one; a config.json (any JavaScript project has one) must be a model's."""
    if any(next(folder.glob(mark), None) for mark in _MARKS):
        return True
    config = folder / "config.json"
    try:
        with config.open("rb") as file:
            start = file.read(1_000_000)
    except OSError:
        return False
    return any(key in start for key in _MODEL_KEYS)


def _kept_by_lfs(checkpoint: str) -> bool:
    """Whether weights lie here as pointers, and Git says that this is how they are kept."""
    # Git takes "../NAME/FILE", as a checkpoint that is the repository's root is spelled, for a path outside of it.
    lying = [os.path.relpath(path) for path in _pointers(checkpoint)]
    # Output of -z: path NUL attribute NUL value NUL; asked in parts, as a command line has an end.
    parts = [lying[start : start + _AT_ONCE] for start in range(0, len(lying), _AT_ONCE)]
    values = [value for part in parts for value in _git("check-attr", "-z", "filter", "--", *part)[2::3]]
    return len(values) == len(lying) and set(values) == {"lfs"}


def _pointers(checkpoint: str) -> Iterator[Path]:
    """Yield the weight files of a checkpoint that are LFS pointers; Git's own copies of them are none of it."""
    for folder, names, files in os.walk(checkpoint):
        names[:] = [name for name in names if name not in _SKIPPED]
        for path in (Path(folder, name) for name in files if name.endswith(_WEIGHTS)):
            small = path.is_file() and path.stat().st_size < pointer.MAX_SIZE
            if small and pointer.parse(path.read_bytes()):
                yield path


def _git(*args: str) -> Sequence[str]:
    """Return the NUL-separated answer of git, nothing where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *args], capture_output=True, check=False)
    except OSError:
        return []
    return [part for part in done.stdout.decode("utf-8", "surrogateescape").split("\0") if part]
