"""Words in config.json that nothing goes by, and where they are nobody's to refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor import check

from ..conftest import ROOT

SOUND = ROOT / "fixtures" / "sound" / "llama-bf16"
REFUSED = {
    "hidden_act": "swishh",
    "dtype": "bfloat17",
    "rope_scaling": 2.0,
    "rope_parameters": {"rope_type": "linear", "factor": "2", "rope_theta": 1e4},
}


def _refused(place: Path, changed: dict[str, Any]) -> list[str]:
    shutil.copytree(SOUND, place)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps(config | changed), encoding="utf-8")
    found = check(place, targets=["transformers==5.23.0"]).findings
    return [str(finding.facts["key"]) for finding in found if finding.rule == "config/value-refused"]


@pytest.mark.parametrize("key", REFUSED)
def test_a_word_that_nothing_goes_by_is_refused(key: str, tmp_path: Path) -> None:
    [found] = _refused(tmp_path / "model", {key: REFUSED[key]})
    assert found.partition(".")[0] == key


@pytest.mark.parametrize("key", REFUSED)
def test_code_that_the_checkpoint_brings_may_have_words_of_its_own(key: str, tmp_path: Path) -> None:
    own = {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}, key: REFUSED[key]}
    assert _refused(tmp_path / "model", own) == []
