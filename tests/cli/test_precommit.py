"""The real pre-commit, installing this repository's hook into a real Git repository (PyPI is the only network)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..support.gitrepo import POINTER, Repository

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """This tree as a Git repository that pre-commit can clone."""
    made = Repository(tmp_path_factory.mktemp("hooks") / "ckptdoctor")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if not name.startswith(("fixtures/", "tests/")) and (ROOT / name).is_file():
            (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made.folder / name)
    assert made.commit().returncode == 0
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pre-commit keeps its environments: made once for all tests."""
    return tmp_path_factory.mktemp("pre-commit-home")


@pytest.fixture
def repo(tmp_path: Path, hooks: Repository, home: Path) -> Repository:
    """A repository with two sound models and the hook installed."""
    made = Repository(tmp_path / "repo")
    made.env["PRE_COMMIT_HOME"] = str(home)
    made.model("models/one-bnb-4bit")
    made.model("models/two", "llama-bf16-sharded")
    (made.folder / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {hooks.folder}\n    rev: {hooks.git('rev-parse', 'HEAD').strip()}\n"
        "    hooks:\n      - id: ckptdoctor\n        args: [--for, 'vllm==0.32.0,vllm-bnb-plugin==0.0.3']\n"
    )
    installed = made.run("pre-commit", "install", "--install-hooks")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    first = made.commit()
    assert first.returncode == 0, first.stdout + first.stderr
    return made


def blocked(done: subprocess.CompletedProcess[str], because: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert because in said


def test_a_dropped_absmax_is_blocked_then_mended(repo: Repository) -> None:
    repo.broken("models/one-bnb-4bit")
    blocked(repo.commit(), "absmax")
    repo.model("models/one-bnb-4bit")
    (repo.folder / "models" / "one-bnb-4bit" / "README.md").write_text("mended")
    assert repo.commit().returncode == 0


def test_only_the_model_that_changed_is_judged(repo: Repository) -> None:
    repo.broken("models/one-bnb-4bit")
    assert repo.run("git", "commit", "-qam", "known bad", "--no-verify").returncode == 0
    config = repo.folder / "models" / "two" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert repo.commit().returncode == 0
    blocked(repo.run("pre-commit", "run", "--all-files"), "absmax")


def test_a_deleted_shard_is_blocked(repo: Repository) -> None:
    (repo.folder / "models" / "two" / "model-00003-of-00004.safetensors").unlink()
    blocked(repo.commit(), "model-00003-of-00004.safetensors")


def test_lfs_pointers(repo: Repository) -> None:
    (repo.folder / "models" / "one-bnb-4bit" / "model.safetensors").write_text(POINTER)
    blocked(repo.commit(), "pointer")
    # What a clone without git-lfs looks like: the attribute says so, and no filter is configured here.
    (repo.folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    done = repo.commit()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fixing_hook_mends_an_index(repo: Repository) -> None:
    config = repo.folder / ".pre-commit-config.yaml"
    config.write_text(config.read_text().replace("- id: ckptdoctor\n", "- id: ckptdoctor-fix\n"))
    assert repo.commit().returncode == 0
    repo.broken("models/two", "shards-index-drops-a-file")
    (repo.folder / "models" / "two" / "README.md").write_text("another index")
    blocked(repo.commit(), "repaired models/two (shards/dropped-file)")
    done = repo.commit()
    assert done.returncode == 0, done.stdout + done.stderr
