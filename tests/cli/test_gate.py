"""The gates: action.yml step by step as a runner's shell runs it, and the recipes in examples/gate."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import ROOT
from ..support.gitrepo import POINTER, Repository

GATE = ROOT / "examples" / "gate"
VLLM = "vllm==0.32.0,vllm-bnb-plugin==0.0.3"
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""As a runner starts `shell: bash`."""


class Runner:
    """What a GitHub runner gives the steps of a composite action."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.folder = folder
        self.inputs = {name: str(spec["default"]) for name, spec in ACTION["inputs"].items()} | {
            name.replace("_", "-"): value for name, value in inputs.items()
        }
        self.outputs: dict[str, str] = {}
        self.log = ""
        self.files = {name: folder / ".runner" / name for name in ("OUTPUT", "STEP_SUMMARY", "PATH")}
        (folder / ".runner").mkdir(exist_ok=True)
        for path in self.files.values():
            path.write_text("")

    def value(self, text: str) -> str:
        """Fill in the expressions of a step's env."""
        known = {f"inputs.{name}": value for name, value in self.inputs.items()}
        known |= {f"steps.check.outputs.{name}": value for name, value in self.outputs.items()}
        known["github.action_path"] = str(ROOT)
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: known.get(found[1], ""), text)

    def step(self, name: str) -> int:
        """Run one step and return its exit code."""
        [step] = [step for step in ACTION["runs"]["steps"] if step["name"] == name]
        assert "${{" not in step["run"], "an input must reach the script as a variable"
        paths = self.files["PATH"].read_text().splitlines() or [str(Path(sys.executable).parent)]
        env = os.environ | {key: self.value(text) for key, text in step["env"].items()}
        env |= {f"GITHUB_{key}": str(path) for key, path in self.files.items()}
        env |= {
            "PATH": os.pathsep.join([*paths, os.environ["PATH"]]),
            "RUNNER_TEMP": str(self.folder / ".runner"),
        }
        script = self.folder / ".runner" / "script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            [*SHELL, script], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        self.log += done.stdout + done.stderr
        lines = re.split(r"\r\n|\n|\r", self.files["OUTPUT"].read_bytes().decode())[:-1]
        self.outputs = dict(line.split("=", 1) for line in lines)
        return done.returncode

    def sarif(self) -> Any:
        return json.loads((self.folder / self.outputs["sarif"]).read_text())["runs"][0]


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """A workspace with a sound and a broken model."""
    made = Repository(tmp_path / "work space")
    made.model("models/sound-bnb-4bit")
    made.broken("models/broken")
    return made


def test_action_on_a_broken_checkpoint(work: Repository) -> None:
    runner = Runner(work.folder, path="models\n", **{"for": f"{VLLM}\ntransformers==5.23.0\n"})
    assert runner.step("Check") == 0  # so that the report is uploaded; the last step fails the job
    assert runner.outputs == {"exit-code": "1", "sarif": "ckptdoctor.sarif"}
    assert runner.step("Verdict") == 1
    assert "::error file=models/broken/model.safetensors,title=bnb/missing-companion::" in runner.log
    summary = runner.files["STEP_SUMMARY"].read_text()
    assert summary.count("\n## ") + summary.startswith("## ") == 2
    assert "✗ fails" in summary
    assert "✓ ok" in summary
    rules = {result["ruleId"] for result in runner.sarif()["results"] if result["level"] == "error"}
    assert "bnb/missing-companion" in rules


def test_action_on_a_sound_checkpoint(work: Repository) -> None:
    runner = Runner(work.folder, path="models/sound-bnb-4bit", **{"for": VLLM})
    assert (runner.step("Check"), runner.outputs["exit-code"], runner.step("Verdict")) == (0, "0", 0)
    assert "::error" not in runner.log
    assert [r for r in runner.sarif()["results"] if r["level"] == "error"] == []


def test_action_with_a_baseline_and_settings(work: Repository) -> None:
    (work.folder / "gate.toml").write_text(f'targets = ["{VLLM}"]\n')
    work.run("ckptdoctor", "check", "models", "--config", "gate.toml", "--write-baseline", "known.json")
    runner = Runner(work.folder, path="models", config="gate.toml", baseline="known.json", fail_on="error")
    assert (runner.step("Check"), runner.step("Verdict")) == (0, 0)
    assert any(result["suppressions"] for result in runner.sarif()["results"])


def test_action_takes_no_input_for_code(work: Repository) -> None:
    evil = "models/sound-bnb-4bit; touch owned $(touch owned) `touch owned`"
    runner = Runner(work.folder, path=evil, **{"for": "--output=owned"})
    assert runner.step("Check") == 0
    assert (runner.outputs, runner.step("Verdict")) == ({"exit-code": "2"}, 2)
    assert not (work.folder / "owned").exists()


def test_a_stale_report_is_never_announced(work: Repository) -> None:
    (work.folder / "ckptdoctor.sarif").write_text("{}")  # of an earlier run, or out of the repository
    runner = Runner(work.folder, path="models/absent")
    assert runner.step("Check") == 0
    assert runner.outputs == {"exit-code": "2"}
    assert not (work.folder / "ckptdoctor.sarif").exists()  # so that no later step takes it for this run's


def test_a_report_that_cannot_be_put_there_is_not_announced(work: Repository) -> None:
    (work.folder / "taken" / "inside").mkdir(parents=True)
    for where in ("taken", "absent/ckptdoctor.sarif"):
        runner = Runner(work.folder, path="models/sound-bnb-4bit", sarif=where)
        assert runner.step("Check") == 0
        assert runner.outputs == {"exit-code": "0"}
    assert (work.folder / "taken" / "inside").is_dir()


@pytest.mark.parametrize(
    ("name", "end"),
    [*((name, "\n") for name in ACTION["inputs"] if name != "upload-sarif"), ("sarif", "\r"), ("path", "\r")],
)
def test_a_line_break_in_an_input_forges_no_output(name: str, end: str, work: Repository) -> None:
    forged = f"x{end}exit-code=0{end}::error::forged{end}##[error]forged{end}sarif=forged"
    runner = Runner(work.folder, **({"path": "models/broken"} | {name: forged}))
    assert runner.step("Check") == 0
    assert runner.outputs["exit-code"] != "0"
    assert runner.outputs.get("sarif", "ckptdoctor.sarif") == "ckptdoctor.sarif"
    assert runner.files["OUTPUT"].read_text().count("exit-code=") == 1
    assert not re.search(r"^\s*::error::", runner.log, re.MULTILINE)


@pytest.mark.slow
def test_action_installs_and_the_installed_one_checks(work: Repository) -> None:
    runner = Runner(work.folder, path="models/broken", **{"for": VLLM})
    assert runner.step("Install") == 0, runner.log
    assert runner.step("Check") == 0
    assert runner.step("Verdict") == 1, runner.log


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", "examples/gate/github.yml"),
        ("vendor.gitlab-ci", "examples/gate/gitlab.yml"),
    ],
)
def test_recipes_meet_the_schemas_of_their_services(schema: str, file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, ROOT / file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_github_recipe_names_inputs_that_exist() -> None:
    workflow = yaml.safe_load((GATE / "github.yml").read_text())
    [step] = [step for step in workflow["jobs"]["check"]["steps"] if "ckptdoctor" in step["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_gitlab_recipe(work: Repository) -> None:
    _, *commands = yaml.safe_load((GATE / "gitlab.yml").read_text())["checkpoints"]["script"]
    codes = [work.run(*SHELL, "-c", command).returncode for command in commands]
    assert codes == [0, 1]
    assert json.loads((work.folder / "ckptdoctor.sarif").read_text())["version"] == "2.1.0"


HF = """#!/bin/sh
# The Hub as a folder: `upload REPO FOLDER .` and `download REPO --include *.json --local-dir FOLDER`.
case $1 in
  upload) mkdir -p "$HUB/$2" && cp -R "$3/." "$HUB/$2" ;;
  download) mkdir -p "$6" && cp "$HUB/$2/"*.json "$6" ;;
esac
"""


@pytest.mark.parametrize(
    ("model", "lost", "code"), [("sound-bnb-4bit", "", 0), ("broken", "", 1), ("sound-bnb-4bit", "x", 3)]
)
def test_check_upload_check_again(model: str, lost: str, code: int, work: Repository, tmp_path: Path) -> None:
    """The real Hub is out of reach of a test: `hf` is a script that copies folders."""
    (tmp_path / "bin").mkdir()
    hf = tmp_path / "bin" / "hf"
    hf.write_text(HF.replace("*.json", "nothing*.json") if lost else HF)
    hf.chmod(0o755)
    work.env |= {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{work.env['PATH']}", "HUB": str(tmp_path / "hub")}
    done = work.run("bash", GATE / "upload.sh", f"models/{model}", f"org/{model}")
    assert (tmp_path / "hub" / "org" / model).exists() is (model != "broken")
    assert (done.returncode != 0) is (code != 0), done.stdout + done.stderr


ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture
def hub(tmp_path: Path) -> Repository:
    """A clone of a Hub repository with the pre-push hook; the model in it is sound, committed and pushed."""
    repo = Repository(tmp_path / "llama-bnb-4bit")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "hub.git"], check=True, env=repo.env)
    repo.git("remote", "add", "origin", tmp_path / "hub.git")
    shutil.copy(GATE / "pre-push", repo.folder / ".git" / "hooks" / "pre-push")
    (tmp_path / "tmp").mkdir()
    repo.env["TMPDIR"] = str(tmp_path / "tmp")
    for path in repo.model("m").iterdir():
        path.rename(repo.folder / path.name)
    assert repo.commit().returncode == 0
    return repo


def push(repo: Repository, *what: str) -> subprocess.CompletedProcess[str]:
    done = repo.run("git", "push", "-q", "origin", *(what or ("main",)))
    assert list((repo.folder.parent / "tmp").iterdir()) == []  # whatever was laid out is gone
    assert repo.git("worktree", "list").count("\n") == 1
    return done


def cut(repo: Repository) -> None:
    weights = repo.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def test_pre_push(hub: Repository) -> None:
    done = push(hub)
    assert done.returncode == 0, done.stderr
    cut(hub)
    assert hub.commit().returncode == 0
    done = push(hub)
    assert done.returncode != 0
    assert "container/truncated" in done.stderr


def test_pre_push_judges_the_commit_and_not_the_working_tree(hub: Repository) -> None:
    cut(hub)
    assert push(hub).returncode == 0  # what lies there is broken, what is pushed is not
    assert hub.commit().returncode == 0
    hub.git("branch", "broken")
    hub.git("reset", "-q", "--hard", "HEAD~1")
    done = push(hub, "main", "broken")  # and the other way round, on a branch that is not even checked out
    assert done.returncode != 0
    assert "container/truncated" in done.stderr
    assert push(hub, "main").returncode == 0


def test_pre_push_fetches_no_weights(hub: Repository) -> None:
    """Pointers stay pointers, whatever git-lfs would make of them; one kept as plain text is an error."""
    (hub.folder / "model.safetensors").write_text(POINTER)
    (hub.folder / ".gitattributes").write_text(ATTRIBUTES)
    assert hub.commit().returncode == 0
    hub.git("config", "filter.lfs.smudge", "touch fetched; false")
    hub.git("config", "filter.lfs.process", "touch fetched; false")
    hub.git("config", "filter.lfs.required", "true")
    done = push(hub)
    assert done.returncode == 0, done.stderr
    assert not list(hub.folder.rglob("fetched"))
    (hub.folder / ".gitattributes").write_text("")
    assert hub.commit().returncode == 0
    done = push(hub)
    assert done.returncode != 0
    assert "pointer" in done.stderr


def test_pre_push_takes_no_settings_of_the_repository(hub: Repository) -> None:
    cut(hub)
    (hub.folder / "ckptdoctor.toml").write_text('fail-on = "never"\n')
    assert hub.commit().returncode == 0
    done = push(hub)
    assert done.returncode != 0
    assert "ckptdoctor.toml lies in the checkpoint it would judge" in done.stderr


def test_pre_push_of_a_tag_and_of_a_deletion(hub: Repository) -> None:
    hub.git("tag", "-a", "v1", "-m", "a tag")
    assert push(hub, "main", "v1").returncode == 0
    assert push(hub, "--delete", "v1").returncode == 0
