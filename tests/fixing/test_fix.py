"""ckptdoctor fix and undo, from the command line to the bytes on disk and back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.fixing.commit import commit
from ckptdoctor.fixing.plan import Plan, Planner
from ckptdoctor.fixing.undo import undo
from ckptdoctor.rulebook import recipe
from ckptdoctor.sources import open_source
from tests.support.shipped import RULEBOOK, check_source, default_targets, parse_target, planner

from ..observe.cases import Case, load_cases, materialise, sound_names
from ..observe.paths import SOUND
from ..support import cards
from ..support.corpus_source import CorpusSource, rows
from ..support.disks import Killed, Lazy

TARGETS = [parse_target(text) for text in ("transformers==5.23.0", "vllm==0.32.0,vllm-bnb-plugin==0.0.3")]
CASES = {case.id: case for case in load_cases()}


def plan(path: Path, unsafe: bool = True) -> Plan:
    return planner(open_source(str(path)), TARGETS, unsafe=unsafe).plan()


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".ckptdoctor" not in path.parts
    }


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ckptdoctor", *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A sharded model whose index leaves a file out."""
    return materialise(CASES["shards-index-drops-a-file"], tmp_path).rename(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.id)
def test_what_is_planned_is_what_is_done_and_undone(case: Case, tmp_path: Path) -> None:
    path = materialise(case, tmp_path)
    before = hashes(path)
    made = plan(path)
    for was, now in zip(made.before.verdicts, made.after.verdicts, strict=True):
        assert was.outcome != "ok" or now.outcome == "ok"
    left = {finding.fingerprint for finding in made.after.findings}
    assert not left & {step.finding.fingerprint for step in made.steps}
    if not made.changes:
        return
    where = Path(commit(str(path), made.changes, "test").root)
    after = check_source(open_source(str(where)), TARGETS)
    assert [v.outcome for v in after.verdicts] == [v.outcome for v in made.after.verdicts]
    assert {f.fingerprint for f in after.findings} == {f.fingerprint for f in made.after.findings}
    assert Path(undo(str(where)).root) == path
    assert hashes(path) == before


@pytest.mark.parametrize("name", sound_names())
def test_nothing_to_do_for_a_sound_fixture(name: str) -> None:
    made = planner(open_source(str(SOUND / name)), TARGETS[:1], unsafe=True).plan()
    assert (made.steps, made.rejected, made.changes) == ((), (), ())


ROWS = [row for row in rows() if row.kind.startswith(("real model metadata", "real fine-tune adapter"))]


@pytest.mark.skipif(not ROWS, reason="CKPTDOCTOR_CORPUS does not name a corpus directory")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_nothing_to_do_for_a_real_model(row: object) -> None:
    path = row.path  # type: ignore[attr-defined]
    made = planner(CorpusSource(path), default_targets(), metadata_only=True).plan()
    assert made.changes == ()


@pytest.mark.parametrize(
    "example", [e for e in cards.all_examples() if e.kind == "fixed"], ids=lambda e: e.id
)
def test_a_fixed_example_is_what_its_fix_makes(example: cards.Example) -> None:
    bad = example._replace(
        kind="bad", recipe=cards.book().card(example.rule)["examples"]["bad"][example.place]
    )
    source = recipe.build(bad.recipe)
    targets = list(cards.targets(bad).values())
    # an example is a fragment, in which other rules miss a lot
    own = RULEBOOK.replace(cards=tuple(card for card in RULEBOOK.cards if card.id == example.rule))
    made = Planner(source, targets, own, unsafe=True).plan()
    assert made.steps, [item.reason for item in made.rejected]
    assert not [finding for finding in made.after.findings if finding.rule == example.rule]


def test_the_command_shows_asks_writes_and_takes_back(model: Path) -> None:
    before = hashes(model)
    shown = run("fix", "model", cwd=model.parent)
    assert shown.returncode == 1
    assert "+ /weight_map/model.norm.weight" in shown.stdout
    assert "Nothing was written" in shown.stdout
    assert hashes(model) == before
    done = run("fix", "model", "--yes", cwd=model.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run("check", "model", cwd=model.parent).returncode == 0
    assert run("fix", "model", "--yes", cwd=model.parent).returncode == 0
    assert run("undo", "model", cwd=model.parent).returncode == 0
    assert hashes(model) == before
    again = run("undo", "model", cwd=model.parent)
    assert (again.returncode, again.stdout) == (3, "")
    assert "got none" in again.stderr


def test_a_dry_run_as_json(model: Path) -> None:
    done = run("fix", "model", "--dry-run", "--format", "json", cwd=model.parent)
    value = json.loads(done.stdout)
    assert done.returncode == 1
    assert value["applied"] is None
    assert [step["rule"] for step in value["steps"]] == ["shards/dropped-file"]
    assert value["steps"][0]["edits"][0]["edit"] == "JsonSet"
    assert not (model / ".ckptdoctor" / "journal").exists()


def test_unsafe_repairs_are_named_and_made_only_when_asked(tmp_path: Path) -> None:
    materialise(CASES["plain-head-missing"], tmp_path).rename(tmp_path / "model")
    shown = run("fix", "model", "--yes", cwd=tmp_path)
    assert (shown.returncode, "with --unsafe  structure/missing-head" in shown.stdout) == (1, True)
    assert run("fix", "model", "--unsafe", "--yes", cwd=tmp_path).returncode == 0


def test_what_a_repair_brings_to_light_is_told(tmp_path: Path) -> None:
    path = materialise(CASES["config-not-json"], tmp_path).rename(tmp_path / "model")
    config = path / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 256', '"intermediate_size": 128'))
    shown = run("fix", "model", "--dry-run", "--unsafe", cwd=tmp_path)
    assert "comes to light  structure/shape-mismatch" in shown.stdout


def test_one_rule_alone(tmp_path: Path) -> None:
    materialise(CASES["shards-index-drops-a-file"], tmp_path).rename(tmp_path / "model")
    assert "nothing to change" in run("fix", "model", "--rule", "bnb/", cwd=tmp_path).stdout
    assert run("fix", "model", "--rule", "nope", cwd=tmp_path).returncode == 2


def test_bad_usage(tmp_path: Path) -> None:
    assert run("fix", "absent", cwd=tmp_path).returncode == 2
    (tmp_path / "x.safetensors").write_bytes(b"")
    assert run("fix", "x.safetensors", cwd=tmp_path).returncode == 2
    (tmp_path / "empty").mkdir()
    done = run("fix", "empty", "--yes", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


class Dying(Lazy):
    """A disk under a process that dies when all is changed, before it can say so."""

    dead = False

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        self.dead = self.dead or (function is os.replace and args[0].endswith("committed.json"))
        if self.dead:
            raise Killed
        return super().call(function, *args)


def interrupted(model: Path) -> dict[str, str]:
    """Leave a repair of ``model`` half done, as a kill would; return what was there before."""
    before = hashes(model)
    with pytest.raises(Killed):
        commit(str(model), plan(model).changes, "shards/dropped-file", Dying())
    assert hashes(model) != before
    return before


def test_what_was_interrupted_is_shown_and_rolled_back_only_with_leave(model: Path) -> None:
    before = interrupted(model)
    left = hashes(model)
    for option in ("--dry-run", "--rule=shards/dropped-file"):
        shown = run("fix", "model", option, cwd=model.parent)
        assert (shown.returncode, hashes(model)) == (3, left)
        assert "a repair was interrupted here: 0001 (shards/dropped-file)" in shown.stdout
        assert "rolling back  model.safetensors.index.json is what it was" in shown.stdout
        assert "Nothing was written" in shown.stdout
    as_json = run("fix", "model", "--dry-run", "--format", "json", cwd=model.parent)
    assert (as_json.returncode, as_json.stdout) == (3, "")
    assert "rolling back  model.safetensors.index.json" in as_json.stderr
    assert hashes(model) == left
    assert run("undo", "model", cwd=model.parent).returncode == 0
    assert hashes(model) == before
    assert not (model / ".ckptdoctor").exists()


def test_yes_says_so_first(model: Path) -> None:
    before = interrupted(model)
    done = run("fix", "model", "--yes", cwd=model.parent)
    assert done.returncode == 0
    told, _, rest = done.stdout.partition("Rolled back.")
    assert "rolling back  model.safetensors.index.json" in told
    assert "1 done" in rest
    assert run("undo", "model", cwd=model.parent).returncode == 0
    assert hashes(model) == before


def test_the_hook_says_so_first(model: Path) -> None:
    interrupted(model)
    done = run("hook", "--fix", "model/config.json", cwd=model.parent)
    assert "rolling back  model.safetensors.index.json" in done.stderr
    assert done.stderr.index("rolling back") < done.stderr.index("repaired model")


def _created(file: Path) -> dict[str, object]:
    content = file.read_bytes()
    return {
        "kind": "create",
        "file": file.name,
        "now": hashlib.sha256(content).hexdigest(),
        "now_size": len(content),
    }


ATTACKS: dict[str, Callable[[Path], dict[str, object]]] = {
    "weights go": lambda model: {"records": [_created(file) for file in model.glob("*.safetensors")]},
    "it is called .ssh": lambda model: {
        "root": "/home/victim/.ssh",
        "records": [{"kind": "rename", "to": "model"}],
    },
    "out of range": lambda model: {
        "inode": [10**30, 2**70],
        "records": [_created(model / "config.json") | {"file": "a\0b", "now_size": 1e400}],
    },
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_journal_that_came_along_is_told_and_does_nothing(
    attack: Callable[[Path], dict[str, object]], model: Path
) -> None:
    """S1 and S2 of review-2 as they were done, by every command."""
    place = model / ".ckptdoctor/journal/0001"
    place.mkdir(parents=True)
    status = model.stat()
    entry = {
        "id": "0001",
        "title": "t",
        "state": "open",
        "root": str(model),
        "inode": [status.st_dev, status.st_ino],
    }
    (place / "entry.json").write_text(json.dumps(entry | attack(model)))
    before = hashes(model)
    assert run("undo", "model", cwd=model.parent).returncode == 3
    assert (hashes(model), [path.name for path in model.parent.iterdir()]) == (before, ["model"])
    assert "container/foreign-journal" in run("check", "model", cwd=model.parent).stdout
    for command in (
        ("fix", "model", "--yes"),
        ("hook", "--fix", "model/config.json"),
    ):
        done = run(*command, cwd=model.parent)
        (line,) = [line for line in done.stderr.splitlines() if "journal/0001" in line]
        assert "not written here, by you, for this directory: not used" in line
    assert "container/foreign-journal" in done.stdout
    assert run("undo", "model", cwd=model.parent).returncode == 0
    assert (hashes(model), [path.name for path in model.parent.iterdir()]) == (before, ["model"])
    assert (place / "entry.json").exists()
    assert "container/foreign-journal" not in run("check", "model/config.json", cwd=model.parent).stdout


def test_a_journal_of_ours_is_nothing_to_tell(model: Path) -> None:
    assert run("fix", "model", "--yes", cwd=model.parent).returncode == 0
    done = run("check", "model", "--format", "json", cwd=model.parent)
    assert "foreign-journal" not in done.stdout
    assert run("fix", "model", "--yes", cwd=model.parent).stderr == ""


def test_fix_and_check_agree_on_what_cannot_be_read(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-nf4", tmp_path / "real")
    (tmp_path / "model").mkdir()
    for file in (tmp_path / "real").iterdir():
        (tmp_path / "model" / file.name).symlink_to(file)
    (tmp_path / "part").mkdir()
    shutil.copy(tmp_path / "real/config.json", tmp_path / "part")
    (tmp_path / "part/model.safetensors").symlink_to(tmp_path / "real/model.safetensors")
    for name in ("model", "part", "real"):
        code = 0 if name == "real" else 3
        assert run("check", name, cwd=tmp_path).returncode == code, name
        for options in (["--dry-run"], ["--yes"]):
            assert run("fix", name, *options, cwd=tmp_path).returncode == code, name


def test_undo_goes_on_without_what_cannot_be_taken_back(model: Path) -> None:
    interrupted(model)
    (model / "model.safetensors.index.json").write_text("{}")
    refused = run("undo", "model", cwd=model.parent)
    assert (refused.returncode, "undo --forget" in refused.stderr) == (3, True)
    done = run("undo", "model", "--forget", cwd=model.parent)
    assert done.returncode == 0
    assert "left as it is: model/model.safetensors.index.json" in done.stdout
    assert "is forgotten in model" in done.stdout
    assert run("fix", "model", "--dry-run", cwd=model.parent).returncode == 1


def test_a_renamed_directory_is_found_by_its_old_name(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-nf4", tmp_path / "model")
    old = "unsloth==2025.3.10,unsloth_zoo==2025.3.9,vllm==0.7.3"
    done = run("fix", "model", "--for", old, "--unsafe", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "model-bnb-4bit").is_dir()
    assert "ln -s model-bnb-4bit model" in done.stdout
    undone = run("undo", "model", cwd=tmp_path)
    assert undone.returncode == 0, undone.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
