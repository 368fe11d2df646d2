"""The accidents that started this: a 4-bit checkpoint whose name, config or companions are not what a loader goes by.

https://github.com/unslothai/unsloth/issues/1930, https://github.com/unslothai/unsloth/issues/1380
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ckptdoctor.cli import main
from ckptdoctor.model import Verdict
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, default_targets, parse_target

from ..conftest import ROOT
from ..observe.cases import load_cases, materialise

SOUND = ROOT / "fixtures" / "sound"
OLD = "unsloth==2025.3.10,unsloth_zoo==2025.3.9"
PLUGIN = "vllm==0.32.0,vllm-bnb-plugin==0.0.3"
ABSMAX = "weight.absmax'"

Copy = Callable[[str, str], Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Return a function that copies a sound checkpoint to a directory of the given name."""
    return lambda fixture, name: Path(shutil.copytree(SOUND / fixture, tmp_path / name))


class Said(NamedTuple):
    """What was said of one target."""

    verdict: Verdict
    errors: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The verdict's word."""
        return self.verdict.outcome


def said(path: Path | str, target: str) -> Said:
    """Check ``path`` for one target."""
    report = check_source(open_source(str(path)), [parse_target(target)])
    assert not report.crashes
    outcomes = [outcome for finding in report.findings for outcome in finding.outcomes]
    return Said(report.verdicts[0], tuple(o.error for o in outcomes if o.error))


def case(name: str, tmp_path: Path) -> Path:
    """Return the checkpoint of a recorded case."""
    return materialise(next(case for case in load_cases() if case.id == name), tmp_path / name)


@pytest.mark.parametrize("target", [OLD, f"{OLD},vllm==0.7.3", f"{OLD},vllm==0.8.3"])
def test_a_4bit_checkpoint_without_the_suffix_fails_in_an_old_unsloth(copy: Copy, target: str) -> None:
    found = said(copy("llama-nf4", "model"), target)
    assert (found.outcome, "naming/suffix-needed" in found.verdict.because) == ("fails", True)
    assert any(error.startswith("RuntimeError") and error.endswith(ABSMAX) for error in found.errors)


@pytest.mark.parametrize("target", [f"{OLD},vllm==0.8.4", "unsloth==2026.10.9"])
def test_it_loads_where_the_loader_looks_at_the_config(copy: Copy, target: str) -> None:
    assert said(copy("llama-nf4", "model"), target).outcome == "ok"


@pytest.mark.parametrize("target", [OLD, f"{OLD},vllm==0.8.4", "unsloth==2026.10.9"])
def test_the_suffix_makes_it_load_everywhere(copy: Copy, target: str) -> None:
    found = said(copy("llama-nf4", "model-bnb-4bit"), target)
    assert (found.outcome, found.verdict.precision) == ("ok", "bnb-nf4")


def test_a_trailing_slash_undoes_the_suffix(copy: Copy) -> None:
    path = copy("llama-nf4", "model-bnb-4bit")
    assert said(f"{path}/", OLD).outcome == "fails"


def test_16bit_weights_stay_16bit_in_an_old_unsloth(copy: Copy) -> None:
    found = said(copy("llama-bf16", "model"), OLD)
    assert (found.outcome, found.verdict.precision) == ("wrong-precision", "bf16")
    assert found.verdict.because == ("naming/flag-ignored",)


def test_16bit_weights_become_4bit_in_a_new_unsloth(copy: Copy) -> None:
    found = said(copy("llama-bf16", "model"), "unsloth==2026.10.9")
    assert (found.outcome, found.verdict.precision) == ("ok", "bnb-nf4")


@pytest.mark.parametrize("target", ["transformers==5.23.0", PLUGIN, "vllm==0.27.1"])
def test_nested_scales_without_their_scales_are_silently_wrong(tmp_path: Path, target: str) -> None:
    found = said(case("bnb4-dq-nested-absmax-missing", tmp_path), target)
    assert (found.outcome, found.verdict.because) == ("corrupt", ("bnb/missing-companion",))


@pytest.mark.parametrize(
    ("target", "outcome"),
    [("transformers==5.23.0", "fails-late"), ("vllm==0.27.1", "fails"), (PLUGIN, "wrong-precision")],
)
def test_16bit_weights_under_a_4bit_config(tmp_path: Path, target: str, outcome: str) -> None:
    found = said(case("bnb4-dense-model-with-config", tmp_path), target)
    assert (found.outcome, found.verdict.because) == (outcome, ("quant/dense-under-bnb-4bit",))


@pytest.mark.parametrize("target", ["transformers==5.23.0", PLUGIN, "vllm==0.27.1"])
def test_4bit_weights_without_a_config_that_says_so(copy: Copy, target: str) -> None:
    path = copy("llama-nf4", "model-bnb-4bit")
    config: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
    del config["quantization_config"]
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = said(path, target)
    assert (found.outcome, found.verdict.because) == ("fails", ("quant/undeclared-bnb-4bit",))


@pytest.mark.parametrize(
    "fixture", ["llama-nf4", "llama-nf4-dq", "llama-nf4-sharded", "llama-fp4", "llama-int8"]
)
def test_a_sound_checkpoint_passes_with_no_loader_installed(
    copy: Copy, fixture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ckptdoctor.targets.installed", lambda rulebook: {})
    assert {target.origin for target in default_targets()} == {"assumed"}
    assert main(["check", str(copy(fixture, "model-bnb-4bit"))]) == 0, capsys.readouterr().out
