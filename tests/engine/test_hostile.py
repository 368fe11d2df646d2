"""Hostile checkpoints in real directories: a finding for each, nothing raised, nothing followed, little memory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckptdoctor.model import Report
from ckptdoctor.rulebook import recipe
from ckptdoctor.sources import open_source
from ckptdoctor.sources.base import Span
from tests.support.shipped import check_source, parse_target

from ..conftest import ROOT

CASES: list[dict[str, Any]] = yaml.safe_load((ROOT / "fixtures/hostile/checkpoints.yaml").read_text("utf-8"))
TARGETS = [parse_target(name) for name in ("transformers", "vllm", "unsloth")]
MAX_MEMORY = 32_000_000
"""Bytes at the peak of a check, beside a header that is read as a whole."""
CANARY = "canary.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the real path of every file that a source opens."""
    paths: list[str] = []
    real = os.open

    def recording(path: Any, *args: Any, **kwargs: Any) -> int:
        paths.append(os.path.realpath(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", recording)
    return paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory for a checkpoint; beside it lies a file that must stay unread."""
    write(tmp_path, {"shards": {"outside.safetensors": {"tensors": {CANARY: ["F32", [4]]}}}})
    (tmp_path / "outside.json").write_text('{"architectures": ["Canary"]}')
    directory = tmp_path / "model"
    directory.mkdir()
    return directory


def write(directory: Path, wanted: dict[str, Any]) -> None:
    """Write the checkpoint of a recipe; its zeros take no space on the disk."""
    source = recipe.build(wanted)
    for name, known in source.entries().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        [head] = source.read_many([Span(name, 0, 65536)])
        assert isinstance(head, bytes)
        path.write_bytes(head)
        os.truncate(path, known.size)


def write_nested(directory: Path, file: str, levels: int) -> None:
    text = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    front = len(text).to_bytes(8, "little") if file.endswith(".safetensors") else b""
    (directory / file).write_bytes(front + text)


def check(directory: Path) -> Report:
    return check_source(open_source(str(directory)), TARGETS)


def judge(report: Report, expect: list[str], refused: bool) -> None:
    """Assert that the expected rules report it, that no rule crashed and that no loader is called ok."""
    assert report.crashes == ()
    found = {finding.rule for finding in report.findings}
    assert set(expect) <= found
    if refused:
        assert [verdict.outcome for verdict in report.verdicts if verdict.outcome == "ok"] == []
    assert CANARY not in str(report)


def inside(directory: Path, opened: list[str]) -> None:
    assert [path for path in opened if not path.startswith(f"{os.path.realpath(directory)}{os.sep}")] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_recipe(case: dict[str, Any], root: Path, opened: list[str]) -> None:
    write(root, case["recipe"])
    if "nested" in case:
        write_nested(root, **case["nested"])
    headers = sum(len(data) for data in _stated_headers(root))
    opened.clear()
    tracemalloc.start()
    try:
        report = check(root)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    judge(report, case["expect"], case.get("refused", True))
    inside(root, opened)
    assert peak < MAX_MEMORY + 6 * headers


def _stated_headers(directory: Path) -> Iterator[bytes | range]:
    """Yield something as long as each header that a reader has to take in, and as each JSON file."""
    for path in directory.iterdir():
        size = path.stat().st_size
        if path.suffix == ".json":
            yield range(size)
        elif size >= 8:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
            yield range(length if length <= min(size - 8, 100_000_000) else 0)


def link_to_file(root: Path) -> None:
    (root / "model.safetensors").symlink_to(root.parent / "outside.safetensors")


def link_in_index(root: Path) -> None:
    write(root, {"index": {"metadata": {}, "weight_map": {"a.weight": "model-1.safetensors"}}})
    (root / "model-1.safetensors").symlink_to(root.parent / "outside.safetensors")


def link_to_folder(root: Path) -> None:
    write(root, {"index": {"metadata": {}, "weight_map": {"a.weight": "sub/outside.safetensors"}}})
    (root / "sub").symlink_to(root.parent, target_is_directory=True)


def link_for_config(root: Path) -> None:
    (root / "config.json").unlink()
    (root / "config.json").symlink_to(root.parent / "outside.json")
    write(root, {"tensors": {"a.weight": ["F32", [4]]}})


def link_to_itself(root: Path) -> None:
    (root / "model.safetensors").symlink_to("model.safetensors")


def link_to_nothing(root: Path) -> None:
    (root / "model.safetensors").symlink_to("gone")


def pipe(root: Path) -> None:
    os.mkfifo(root / "model.safetensors")


def lfs_pointer(root: Path) -> None:
    (root / "model.safetensors").write_text(POINTER)


def lfs_pointer_for_index(root: Path) -> None:
    write(root, {"shards": {"model-00001-of-00001.safetensors": {"tensors": {"a.weight": ["F32", [4]]}}}})
    (root / "model.safetensors.index.json").write_text(POINTER)


def forbidden(root: Path) -> None:
    path = root / "model.safetensors"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    ("make", "expect"),
    [
        (link_to_file, "container/link-out"),
        (link_in_index, "shards/index-path"),
        (link_to_folder, "shards/missing-file"),
        (link_for_config, "container/link-out"),
        (link_to_itself, "container/unreadable"),
        (link_to_nothing, "container/unreadable"),
        (pipe, "container/not-a-file"),
        (lfs_pointer, "container/lfs-pointer"),
        (lfs_pointer_for_index, "container/json-lfs-pointer"),
        (forbidden, "container/unreadable"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_directory(make: Callable[[Path], None], expect: str, root: Path, opened: list[str]) -> None:
    write(root, {"config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}})
    make(root)
    opened.clear()
    judge(check(root), [expect], refused=True)
    inside(root, opened)


def test_files_are_left_alone(root: Path) -> None:
    """A check changes nothing: names, bytes, modes and times stay."""
    for case in CASES[:6]:
        (root / case["id"]).mkdir()
        write(root / case["id"], case["recipe"])
    before = _state(root)
    for case in CASES[:6]:
        check(root / case["id"])
    assert _state(root) == before


def _state(root: Path) -> list[tuple[str, int, int, int]]:
    found = [(str(path), path.lstat()) for path in sorted(root.rglob("*"))]
    return [(path, s.st_size, stat.S_IMODE(s.st_mode), s.st_mtime_ns) for path, s in found]


@pytest.mark.parametrize("name", ["escape-sequences-in-names", "escape-sequences-in-index"])
def test_terminal_is_safe(name: str, root: Path) -> None:
    """No control or direction character from a checkpoint reaches the terminal."""
    write(root, next(case["recipe"] for case in CASES if case["id"] == name))
    run = subprocess.run(
        [sys.executable, "-m", "ckptdoctor", "check", str(root)], capture_output=True, timeout=60, check=False
    )
    text = (run.stdout + run.stderr).decode("utf-8")
    assert run.returncode == 1
    assert "Traceback" not in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
