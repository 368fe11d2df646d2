"""A real Git repository for tests, cut off from the user's configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..conftest import ROOT
from ..observe.cases import load_cases, materialise

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 300000\n"
SOUND = ROOT / "fixtures" / "sound"


class Repository:
    """Commands run in one repository."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "tester")
        self.git("config", "user.email", "tester@example.org")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command here, whatever comes of it."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *args: str | Path) -> str:
        """Run git, which must succeed, and return what it printed."""
        done = self.run("git", *args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, *files: str) -> subprocess.CompletedProcess[str]:
        """Stage ``files`` (everything when none is named) and commit."""
        self.git("add", "-A", *(("--", *files) if files else ()))
        return self.run("git", "commit", "-q", "-m", "a change")

    def model(self, name: str, fixture: str = "llama-nf4") -> Path:
        """Put a sound fixture there, in place of what was there."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.copytree(SOUND / fixture, self.folder / name))

    def broken(self, name: str, case: str = "bnb4-absmax-missing") -> Path:
        """Put the checkpoint of an observed case there, in place of what was there."""
        [wanted] = [item for item in load_cases() if item.id == case]
        made = materialise(wanted, self.folder / ".git" / "made" / name)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.move(made, self.folder / name))
