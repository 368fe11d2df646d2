"""What other work builds on: exit codes, words and their order, severities, skips, fingerprints, JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from ckptdoctor import ruledata
from ckptdoctor.cli.exits import exit_code
from ckptdoctor.model import OUTCOMES, Report, worst
from ckptdoctor.render import Page, render
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, default_targets, parse_target

from ..conftest import ROOT
from ..render.test_json_schema import SCHEMA

SOUND = ROOT / "fixtures" / "sound"
TARGETS = [parse_target(text) for text in ("transformers", "vllm", "unsloth")]
NAMES = sorted(path.name for path in SOUND.iterdir())


def check(path: Path, *, metadata_only: bool = False) -> Report:
    return check_source(open_source(path), TARGETS, metadata_only=metadata_only)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A writable copy of a sound 4-bit checkpoint, named as its users would name it."""
    return Path(shutil.copytree(SOUND / "llama-nf4", tmp_path / "llama-bnb-4bit"))


def cut(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def test_outcomes_are_ordered_worst_first() -> None:
    assert OUTCOMES == ("fails", "fails-late", "corrupt", "wrong-precision", "unknown", "ok")
    assert worst(["ok", "unknown", "corrupt", "wrong-precision"]) == "corrupt"
    assert worst([]) == "ok"


@pytest.mark.parametrize("name", NAMES)
def test_reports_of_real_checkpoints(name: str) -> None:
    report = check(SOUND / name)
    assert report.crashes == ()
    assert [verdict.target for verdict in report.verdicts] == TARGETS
    jsonschema.validate(json.loads(render("json", [report], Page())), SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_the_worst_finding_in_files_it_reads_is_the_verdict(name: str) -> None:
    report = check(SOUND / name)
    for verdict in report.verdicts:
        mine = [o.outcome for f in report.findings for o in f.outcomes if o.target == verdict.target]
        if worst(mine) != "ok":
            assert verdict.outcome == worst(mine)
            assert verdict.because
        else:
            assert verdict.outcome in ("ok", "unknown")


@pytest.mark.parametrize("name", NAMES)
def test_severity_of_a_reading_follows_its_outcomes(name: str) -> None:
    kinds = {card.id: card.kind for card in ruledata.load().cards}
    for finding in check(SOUND / name).findings:
        if kinds[finding.rule] == "reading":
            outcome = worst([item.outcome for item in finding.outcomes])
            assert outcome != "ok"
            assert finding.severity == ("note" if outcome == "unknown" else "error")


def test_a_truncated_shard_fails_everywhere(copy: Path) -> None:
    cut(copy)
    report = check(copy)
    assert {verdict.outcome for verdict in report.verdicts} == {"fails"}
    assert exit_code([report], ("error",)) == 1


def test_fingerprints_know_no_names(copy: Path) -> None:
    def prints(path: Path) -> list[str]:
        return sorted(f.fingerprint for f in check(path).findings if f.rule.startswith("container/"))

    cut(copy)
    before = prints(copy)
    other = copy.rename(copy.with_name("another-bnb-4bit"))
    renamed = prints(other)
    (other / "model.safetensors").rename(other / "model-00001-of-00001.safetensors")
    assert before
    assert before == renamed == prints(other)


def test_fingerprints_are_unique_in_a_report(copy: Path) -> None:
    cut(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_size": 7}))
    prints = [finding.fingerprint for finding in check(copy).findings]
    assert len(prints) == len(set(prints)) > 1


def test_an_lfs_pointer_is_an_error_and_with_metadata_only_none(copy: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 4000000000\n"
    (copy / "model.safetensors").write_text(pointer)
    assert exit_code([check(copy)], ("error",)) == 1
    report = check(copy, metadata_only=True)
    assert not [finding for finding in report.findings if finding.severity == "error"]


def test_nothing_to_check_is_said(tmp_path: Path) -> None:
    assert check(tmp_path).nothing


def test_json_locations_have_lines(tmp_path: Path) -> None:
    shutil.copytree(SOUND / "llama-bf16-sharded", tmp_path / "llama")
    index = tmp_path / "llama" / "model.safetensors.index.json"
    ghost = '"weight_map": {\n      "ghost.weight": "model-00001-of-00004.safetensors",'
    text = index.read_text().replace('"weight_map": {', ghost)
    index.write_text(text)
    places = [place for finding in check(tmp_path / "llama").findings for place in finding.locations]
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "ghost" in row)
    assert (index.name, "/weight_map/ghost.weight", line, 7) in {
        (place.file, place.pointer, place.line, place.column) for place in places
    }


def test_default_targets_are_the_three() -> None:
    assert [target.loader for target in default_targets()] == ["transformers", "vllm", "unsloth"]


def test_labels_are_accepted_back() -> None:
    for target in TARGETS:
        again = parse_target(target.label)
        assert (again.loader, again.versions) == (target.loader, target.versions)
