"""What a checkpoint brings along is never run: no code, no pickle, no network, no program but git, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.gitrepo import Repository

WATCH = r"""
import sys
here, log = sys.argv.pop(1), sys.argv.pop(1)
seen = []
def hook(event, args):
    kind = event.split(".")[0]
    if kind in ("socket", "ctypes", "pickle", "marshal", "shutil") and event not in ("marshal.loads",):
        seen.append(event)
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"):
        seen.append(f"{event} {args[0]}")
    elif event == "exec" and here in str(getattr(args[0], "co_filename", "")):
        seen.append(f"exec {args[0].co_filename}")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wxa+") and here in str(args[0]):
        seen.append(f"open {args[0]} {args[1]}")
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate"):
        seen.append(f"{event} {args[0]}") if here in str(args[0]) else None
sys.addaudithook(hook)
from ckptdoctor.cli import main
code = main()
real = [entry for entry in seen if not entry.startswith("shutil")]
open(log, "w").write("\n".join([str(code), *real]))
"""


class Bomb:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """A repository with a model that brings a pickle, code of its own, settings and modules named like ours."""
    made = Repository(tmp_path / "work")
    model = made.model("model", "llama-bf16-sharded")
    (model / "model.safetensors.index.json").unlink()  # something that fix would do
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (model / "config.json").write_text(json.dumps(config))
    for name in ("modeling_evil", "ckptdoctor", "click", "json", "msgspec", "sitecustomize", "acme_checks"):
        (model / f"{name}.py").write_text("import os; os.system('touch owned')\n")
    for name in ("optimizer.bin", "pytorch_model.bin", "training_args.bin"):
        (model / name).write_bytes(pickle.dumps(Bomb()))
    (model / "ckptdoctor.toml").write_text('plugins = ["acme_checks"]\nrules = ["."]\n')
    shutil.copy(model / "acme_checks.py", made.folder)
    (made.folder / "ckptdoctor.toml").write_text('plugins = ["acme_checks"]\nrules = ["model"]\n')
    return made


@pytest.mark.parametrize(
    ("args", "inside"),
    [
        (["check", "model"], False),
        (["check", "."], True),
        (["check", "model", "--format", "sarif", "--verbose", "--for", "vllm==*", "--for", "peft"], False),
        (["fix", "model", "--dry-run", "--unsafe"], False),
        (["hook", "model/config.json"], False),
        (["explain", "ImportError: modeling_evil"], True),
        (["rules"], True),
        (["env"], True),
    ],
)
def test_nothing_of_it_runs(args: list[str], inside: bool, repo: Repository, tmp_path: Path) -> None:
    cwd = repo.folder / "model" if inside else repo.folder
    program, log = tmp_path / "watch.py", tmp_path / "log"
    program.write_text(WATCH)
    done = subprocess.run(
        [sys.executable, program, repo.folder, log, *args],
        cwd=cwd, env=repo.env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert log.exists(), done.stderr
    code, *seen = log.read_text().splitlines()
    assert int(code) in (0, 1, 3)
    allowed = {"subprocess.Popen git"} if args[0] == "hook" else set()
    assert set(seen) <= allowed
    assert not list(repo.folder.rglob("owned"))


def test_the_watcher_sees(repo: Repository, tmp_path: Path) -> None:
    """The test above can fail: a plug-in of a file that was named is code, and is seen."""
    program, log = tmp_path / "watch.py", tmp_path / "log"
    program.write_text(WATCH)
    (repo.folder / "lib").mkdir()
    (repo.folder / "lib" / "trusted_checks.py").write_text(
        "import os, pickle, socket\nsocket.socket()\nos.system('true')\nopen(__file__ + '.out', 'w')\n"
        "pickle.loads(pickle.dumps(print))\n"
    )
    (repo.folder / "trusted.toml").write_text('plugins = ["trusted_checks"]\n')
    done = subprocess.run(
        [sys.executable, program, repo.folder, log, "check", "model", "--config", "trusted.toml"],
        cwd=repo.folder, env=repo.env | {"PYTHONPATH": str(repo.folder / "lib")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert log.exists(), done.stderr
    seen = {entry.split()[0] for entry in log.read_text().splitlines()}
    assert {"socket.__new__", "os.system", "open", "exec", "pickle.find_class"} <= seen
