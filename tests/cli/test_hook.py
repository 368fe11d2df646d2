"""The hook as pre-commit calls it: changed files to checkpoints, Git LFS, deletions; in real Git repositories."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptdoctor.cli.hook import _kept_by_lfs as kept_by_lfs
from ckptdoctor.cli.hook import checkpoints

from ..support.gitrepo import POINTER, SOUND, Repository

VLLM = ("--for", "vllm==0.32.0,vllm-bnb-plugin==0.0.3")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """A repository with two sound models, committed."""
    made = Repository(tmp_path / "repo")
    made.model("models/one-bnb-4bit")
    made.model("models/two", "llama-bf16-sharded")
    (made.folder / "README.md").write_text("models")
    assert made.commit().returncode == 0
    return made


def hook(repo: Repository, *args: str) -> subprocess.CompletedProcess[str]:
    return repo.run(sys.executable, "-m", "ckptdoctor", "hook", *VLLM, *args)


def checked(repo: Repository, *args: str) -> list[str]:
    out = hook(repo, *args, "--format", "json").stdout
    value = json.loads(out) if out else {"reports": []}
    return [report["target"] for report in value.get("reports", [value])]


def test_only_the_checkpoints_of_changed_files_are_checked(repo: Repository) -> None:
    assert checked(repo, "models/two/config.json", "models/two/generation_config.json") == ["models/two"]
    assert checked(repo, "models/one-bnb-4bit/model.safetensors", "models/two/config.json") == [
        "models/one-bnb-4bit",
        "models/two",
    ]


def test_files_that_belong_to_no_checkpoint_pass_in_silence(repo: Repository) -> None:
    (repo.folder / "config.json").write_text('{"port": 8080}')
    done = hook(repo, "README.md", "config.json", "models/two/.ckptdoctor/journal.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dropped_absmax_is_stopped_and_the_other_model_is_not(repo: Repository) -> None:
    repo.broken("models/one-bnb-4bit")
    done = hook(repo, "models/one-bnb-4bit/model.safetensors")
    assert done.returncode == 1
    assert "absmax" in done.stdout
    assert hook(repo, "models/two/config.json").returncode == 0


def test_a_staged_deletion_is_seen_although_no_file_is_named(repo: Repository) -> None:
    assert hook(repo).returncode == 0
    repo.git("rm", "-q", "models/two/model-00002-of-00004.safetensors")
    done = hook(repo)
    assert done.returncode == 1
    assert "model-00002-of-00004.safetensors" in done.stdout


def test_pointers_that_git_lfs_keeps_are_judged_from_metadata(repo: Repository) -> None:
    weights = repo.folder / "models" / "one-bnb-4bit" / "model.safetensors"
    weights.write_text(POINTER)
    assert hook(repo, "models/one-bnb-4bit/model.safetensors").returncode == 1  # committed as text by mistake
    (repo.folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    done = hook(repo, "models/one-bnb-4bit/model.safetensors")
    assert done.returncode == 0, done.stdout
    config = repo.folder / "models" / "one-bnb-4bit" / "config.json"
    config.write_text(config.read_text()[:-5])
    assert hook(repo, "models/one-bnb-4bit/config.json").returncode == 1


def test_both_kinds_make_one_report(repo: Repository) -> None:
    (repo.folder / ".gitattributes").write_text("models/two/*.safetensors filter=lfs\n")
    for weights in (repo.folder / "models" / "two").glob("*.safetensors"):
        weights.write_text(POINTER)
    done = hook(repo, "models/one-bnb-4bit/config.json", "models/two/config.json", "--format", "json")
    assert [report["target"] for report in json.loads(done.stdout)["reports"]] == [
        "models/one-bnb-4bit",
        "models/two",
    ]
    assert done.returncode == 0


def test_a_repository_that_is_a_checkpoint_is_called_by_its_name(tmp_path: Path) -> None:
    repo = Repository(tmp_path / "llama-bnb-4bit")
    for path in Repository(tmp_path / "made").model("m").iterdir():
        path.rename(repo.folder / path.name)
    assert checked(repo, "config.json") == ["../llama-bnb-4bit"]


@pytest.fixture
def hub(tmp_path: Path) -> Repository:
    """A clone of a Hub repository without git-lfs: its root is the checkpoint, its weights are pointers."""
    made = Repository(tmp_path / "llama-bnb-4bit")
    for path in Repository(tmp_path / "made").model("m").iterdir():
        path.rename(made.folder / path.name)
    (made.folder / "model.safetensors").write_text(POINTER)
    (made.folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    assert made.commit().returncode == 0
    return made


def test_pointers_in_a_repository_that_is_a_checkpoint(hub: Repository) -> None:
    done = hook(hub, "config.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (hub.folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    done = hook(hub, "config.json")
    assert done.returncode == 1
    assert "pointer" in done.stdout


def test_pointers_among_git_s_own_files_are_none_of_the_checkpoint(
    hub: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub.folder / ".git" / "kept.safetensors").write_text(POINTER)
    monkeypatch.chdir(hub.folder)
    assert kept_by_lfs("../llama-bnb-4bit")
    shutil.copy(SOUND / "llama-nf4" / "model.safetensors", hub.folder)
    assert not kept_by_lfs("../llama-bnb-4bit")


def test_many_pointers_are_asked_about_in_parts(hub: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (hub.folder / f"model-{number}.safetensors").write_text(POINTER)
    monkeypatch.setattr("ckptdoctor.cli.hook._AT_ONCE", 2)
    monkeypatch.chdir(hub.folder)
    assert kept_by_lfs("../llama-bnb-4bit")
    (hub.folder / "odd.bin").write_text(POINTER)  # of a kind that the attributes do not name
    assert not kept_by_lfs("../llama-bnb-4bit")


def test_nearest_checkpoint_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run", "run/checkpoint-100"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    (tmp_path / "run" / "onnx").mkdir()
    assert checkpoints(["run/checkpoint-100/optimizer.pt"]) == ["run/checkpoint-100"]
    assert checkpoints(["run/onnx/model.onnx", "run/config.json"]) == ["run"]


def test_without_git_the_named_files_count(repo: Repository) -> None:
    repo.env["PATH"] = ""
    assert checked(repo, "models/two/config.json") == ["models/two"]


def test_fix_makes_the_safe_repairs_and_says_so(repo: Repository) -> None:
    repo.broken("models/two", "shards-index-drops-a-file")
    index = repo.folder / "models" / "two" / "model.safetensors.index.json"
    before = index.read_bytes()
    done = hook(repo, "--fix", str(index.relative_to(repo.folder)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "repaired models/two (shards/dropped-file)" in done.stderr
    assert hook(repo, "--fix", "models/two/config.json").returncode == 0
    assert "models/two/.ckptdoctor" not in repo.git("status", "--porcelain", "-uall")
    undone = repo.run(sys.executable, "-m", "ckptdoctor", "undo", "models/two")
    assert undone.returncode == 0, undone.stderr
    assert index.read_bytes() == before


def test_fix_leaves_alone_what_is_not_safe(repo: Repository) -> None:
    repo.broken("models/two", "plain-head-missing")
    done = hook(repo, "--fix", "models/two/config.json")
    assert done.returncode == 1
    assert "repaired" not in done.stderr
    assert not (repo.folder / "models" / "two" / ".ckptdoctor" / "journal").exists()
