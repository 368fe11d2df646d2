"""``ckptdoctor hook``: the changed files of a commit, mapped to their checkpoints, each checked once (pre-commit)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
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
    given_options = checking.Options(**given, pointers=pointers)
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
    lying = [
        path
        for path in Path(checkpoint).rglob("*")
        if path.suffix in _WEIGHTS
        and path.is_file()
        and path.stat().st_size < pointer.MAX_SIZE
        and pointer.parse(path.read_bytes())
    ]
    if not lying:
        return False
    # Output of -z: path NUL attribute NUL value NUL.
    values = _git("check-attr", "-z", "filter", "--", *map(str, lying))[2::3]
    return len(values) == len(lying) and set(values) == {"lfs"}


def _git(*args: str) -> Sequence[str]:
    """Return the NUL-separated answer of git, nothing where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *args], capture_output=True, check=False)
    except OSError:
        return []
    return [part for part in done.stdout.decode("utf-8", "surrogateescape").split("\0") if part]
