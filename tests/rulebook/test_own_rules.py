"""Rules of one's own: five policies without a line of Python, and what a wrong card is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.checks.policy import size
from ckptdoctor.cli import main
from ckptdoctor.model import Report
from ckptdoctor.rulebook import custom, recipe
from ckptdoctor.ruledata import RulebookError
from tests.support.shipped import RULEBOOK, check_source, parse_target

from ..conftest import ROOT

POLICY = ROOT / "examples" / "policy"
WEIGHT = "model.layers.{0..1}.mlp.down_proj.weight"
SOUND: dict[str, Any] = {
    "as": "Llama-3.1-8B-bf16",
    "config": {"model_type": "llama"},
    "files": {"LICENSE.md": "MIT"},
    "tensors": {WEIGHT: ["BF16", [64, 128]], "model.norm.weight": ["F32", [64]]},
}


def judge(checkpoint: dict[str, Any], folder: Path = POLICY) -> Report:
    targets = [parse_target("vllm"), parse_target("transformers")]
    rulebook = custom.extended(RULEBOOK, [folder])
    return check_source(recipe.build(checkpoint), targets, rulebook, select=[folder.name])


def messages(checkpoint: dict[str, Any]) -> dict[str, tuple[str, str]]:
    report = judge(checkpoint)
    assert report.crashes == ()
    assert all(finding.outcomes == () for finding in report.findings)  # no loader minds a policy
    return {finding.rule: (finding.severity, finding.message) for finding in report.findings}


def test_a_model_that_keeps_to_the_rules() -> None:
    assert messages(SOUND) == {}


def test_only_bf16_or_nf4() -> None:
    tensors = {WEIGHT: ["F16", [64, 128]], "lm_head.weight": ["F16", [64, 128]]}
    found = messages(SOUND | {"tensors": tensors})
    said = "3 modules are stored as f16; allowed are bf16, bnb-nf4"
    assert found == {"policy/formats": ("error", said)}


def test_a_licence_file() -> None:
    assert messages(SOUND | {"files": {"docs/LICENSE": "deeper does not count"}}) == {
        "policy/licence": ("error", "there is no LICENSE* or LICENCE*")
    }
    assert messages(SOUND | {"files": {"licence.txt": "any case"}}) == {}


def test_no_pickles() -> None:
    files = {"LICENSE": "MIT", "optimizer.pt": {"size": 4}}
    said = "optimizer.pt is a pickle (*.bin, *.pt, *.pth, *.pkl, *.ckpt)"
    assert messages(SOUND | {"files": files}) == {"policy/no-pickles": ("error", said)}


def test_the_name_ends_with_the_format() -> None:
    said = "Llama holds bf16, so its name should end in -bf16"
    assert messages(SOUND | {"as": "models/Llama/"}) == {"policy/name": ("warning", said)}
    assert messages(SOUND | {"as": "LLAMA-BF16"}) == {}


def test_no_shard_over_5_gb() -> None:
    shards = {"LICENSE": "", "model-00001-of-00002.safetensors": {"size": 5_000_000_001}}
    found = messages(SOUND | {"files": shards, "metadata_only": True})
    assert found["policy/shard-size"] == ("error", "model-00001-of-00002.safetensors is larger than 5 GB")
    assert "policy/shard-size" not in messages(
        SOUND | {"files": {"LICENSE": "", "x.safetensors": {"size": 5 * 10**9}}}
    )


@pytest.mark.parametrize(
    ("text", "number"), [(7, 7), ("512 B", 512), ("1.5 kB", 1500), ("5 GB", 5e9), ("4GiB", 4 * 2**30)]
)
def test_sizes(text: object, number: float) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "5 gb", "five", "5 GBB", "-1"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected bytes or text such as 5 GB"):
        size(text)


def test_they_do_not_change_verdicts(tmp_path: Path) -> None:
    report = judge(SOUND | {"as": "x", "files": {}})
    assert report.findings
    assert report.verdicts == judge(SOUND).verdicts


def test_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(POLICY, tmp_path / "policy")
    shutil.copy(ROOT / "examples" / "ckptdoctor.toml", tmp_path)
    shutil.copytree(ROOT / "fixtures" / "sound" / "llama-fp16", tmp_path / "llama")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["check", "llama", "--config", "ckptdoctor.toml", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["rule"] for finding in report["findings"]] == ["policy/formats", "policy/licence"]
    assert main(["check", "llama", "--config", "ckptdoctor.toml", "--select", "policy/formats"]) == 1
    assert "Save the model in bfloat16" in capsys.readouterr().out
    assert main(["rules", "policy/shard-size", "--config", "ckptdoctor.toml"]) == 0
    assert "No shard is larger than 5 GB" in capsys.readouterr().out
    assert main(["explain", "policy/formats", "--config", "ckptdoctor.toml"]) == 0
    assert "Save the model in bfloat16" in capsys.readouterr().out


@pytest.fixture
def card(tmp_path: Path) -> Callable[[str], Path]:
    """Write one card and return its folder."""

    def write(text: str) -> Path:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "card.yaml").write_text(text)
        return tmp_path / "mine"

    return write


GOOD = """\
kind: policy
severity: error
summary: Files have a limit here
check: policy.max_file_size
with: {files: ["*"], max: 5 GB}
message: "{file} is large"
"""
BAD = {
    "typo": ("summary:", "sumary:", 3, "unknown key 'sumary'"),
    "no check": ("max_file_size", "max_size", 4, "there is no check 'policy.max_size'"),
    "no family": ("policy.max", "polic.max", 4, "there is no check 'polic.max_file_size'"),
    "private": ("max_file_size", "_texts", 4, "there is no check"),
    "parameter missing": (", max: 5 GB", "", 5, "with/max: missing"),
    "parameter unknown": ("max: 5 GB", "max: 5 GB, min: 1", 5, "with/min: unknown; expected files, max"),
    "parameter wrong": ("5 GB", "5 gigs", 5, "with/max: expected bytes or text such as 5 GB"),
    "outcomes": ("message:", "outcomes: {any: [{outcome: ok}]}\nmessage:", 6, "a policy has none"),
    "severity": ("error", "fatal", 2, "'fatal' is not one of"),
    "brace": ("{file} is", "{File} is", 6, "no {placeholder}"),
    "id": ("kind:", "id: other/card\nkind:", 1, "the path makes it 'mine/card'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_blamed_on_its_line(case: str, card: Callable[[str], Path]) -> None:
    old, new, line, says = BAD[case]
    folder = card(GOOD.replace(old, new))
    with pytest.raises(RulebookError) as caught:
        custom.extended(RULEBOOK, [folder])
    assert (caught.value.file, caught.value.line) == (str(folder / "card.yaml"), line)
    assert says in caught.value.message


def test_a_good_card_is_taken(card: Callable[[str], Path]) -> None:
    book = custom.extended(RULEBOOK, [card(GOOD)])
    assert book.cards[-1].id == "mine/card"
    assert book.digest != RULEBOOK.digest


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bnb").mkdir()
    (tmp_path / "empty").mkdir()
    for name, says in (("bnb", "a family of"), ("empty", "holds no card"), ("absent", "no folder")):
        with pytest.raises(RulebookError, match=says):
            custom.extended(RULEBOOK, [tmp_path / name])
