"""A model beside its packed self: what is alike, what is worse, and what is damaged."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import ckptdoctor
from ckptdoctor.probe import comparing
from ckptdoctor.probe.comparing import Likeness, NotComparable, compare, judged
from ckptdoctor.probe.process import Failed, Limits
from ckptdoctor.render import Page
from ckptdoctor.render.compared import Comparison, as_json, as_svg, as_text
from tests.observe.paths import SOUND

PYTHON = os.environ.get("CKPTDOCTOR_TF5", "")
real = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="CKPTDOCTOR_TF5 names no interpreter with transformers"),
    pytest.mark.xdist_group("compare"),
]
SCHEMA = json.loads((Path(ckptdoctor.__file__).parent / "compare.schema.json").read_text(encoding="utf-8"))
ON_CPU = Limits("cpu", threads=1)


def answer(**changes: Any) -> dict[str, Any]:
    """What a worker says of two models that are alike."""
    alone = {
        "perplexity": 8.0,
        "finite": True,
        "first_token_s": [0.2, 0.1, 0.3],
        "tokens_per_s": [10.0, 12.0],
    }
    near = {
        "positions": 2,
        "top1": 0.95,
        "kl": 0.02,
        "kl_largest": 0.03,
        "kl_each": [0.01, 0.03],
        "greedy": [1.0],
    }
    both = {"tokenizer": True, "reference": dict(alone), "checkpoint": dict(alone)}
    return {"exception": None, **near, **both, **changes}


def likeness(**changes: Any) -> Likeness:
    return comparing._likeness(json.loads(json.dumps(answer(**changes))))


def alone(**changes: Any) -> dict[str, Any]:
    return {**answer()["checkpoint"], **changes}


def test_what_differs_little_is_alike() -> None:
    word, why = judged(likeness())
    assert word == "alike"
    assert "0.02" in why


@pytest.mark.parametrize(
    ("changes", "word", "why"),
    [
        ({"kl": 0.2}, "worse", "KL divergence 0.2 > 0.1"),
        ({"kl": 0.6}, "damaged", "KL divergence 0.6 > 0.5"),
        ({"top1": 0.7}, "worse", "70% < 85%"),
        ({"top1": 0.5}, "damaged", "50% < 60%"),
        ({"checkpoint": alone(perplexity=9.0)}, "worse", "perplexity × 1.12 > × 1.05"),
        ({"checkpoint": alone(perplexity=80.0)}, "damaged", "perplexity × 10 > × 1.3"),
        ({"checkpoint": alone(perplexity=None)}, "damaged", "no numbers"),
        ({"checkpoint": alone(finite=False)}, "damaged", "no numbers"),
        ({"kl": None}, "damaged", "no numbers"),
    ],
)
def test_each_number_decides_by_itself(changes: dict[str, Any], word: str, why: str) -> None:
    found, reason = judged(likeness(**changes))
    assert found == word
    assert why in reason


def test_times_have_a_middle_and_a_spread() -> None:
    speed = likeness().checkpoint.first_token_s
    assert speed.middle == 0.2
    assert speed.spread == pytest.approx(1.0)


@pytest.mark.parametrize("changes", [{"top1": "all"}, {"reference": None}, {"greedy": 3}, {"kl_each": None}])
def test_an_answer_of_another_form_is_no_answer(changes: dict[str, Any]) -> None:
    with pytest.raises(Failed):
        likeness(**changes)


def told(**changes: Any) -> Comparison:
    found = likeness(**changes)
    word, why = judged(found)
    return Comparison("./a\x1b[2J", "./<b>", "transformers==5.23.0", "cpu", found, word, why)


@pytest.mark.parametrize(
    "changes", [{}, {"kl": None, "kl_largest": None, "kl_each": [None, None]}, {"kl_each": []}]
)
def test_it_is_told_in_words_json_and_a_picture(changes: dict[str, Any]) -> None:
    comparison = told(**changes)
    page = as_text(comparison, Page())
    assert comparison.word in page
    assert "200 ms (100 – 300)" in page
    jsonschema.validate(json.loads(as_json(comparison)), SCHEMA)
    picture = as_svg(comparison)
    root = ET.fromstring(picture)
    bars = [item for item in root.iter("{http://www.w3.org/2000/svg}rect") if item.get("x")]
    assert len(bars) == sum(value is not None for value in comparison.found.kl_each)
    assert "\x1b" not in page + picture


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that was trained for some seconds: in bfloat16, in nf4, and in nf4 with spoiled scales."""
    folder = tmp_path_factory.mktemp("trained")
    script = str(Path(__file__).with_name("trained.py"))
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([PYTHON, script, str(folder)], check=True, capture_output=True, env=env)
    return folder


def against(folder: Path, name: str, reference: str = "bf16") -> Likeness:
    return compare(str(folder / name), str(folder / reference), PYTHON, limits=ON_CPU)


class TestReal:
    """By the real transformers and bitsandbytes."""

    pytestmark = real

    def test_a_model_is_itself(self, trained: Path) -> None:
        found = against(trained, "bf16")
        assert (found.kl, found.top1, found.perplexity_ratio) == (0.0, 1.0, 1.0)
        assert set(found.greedy) == {1.0}
        assert judged(found)[0] == "alike"

    def test_nf4_is_alike_and_the_numbers_come_again(self, trained: Path) -> None:
        found, again = against(trained, "nf4"), against(trained, "nf4")
        assert found.kl is not None
        assert 0 < found.kl < 0.1
        assert judged(found)[0] == "alike"
        assert (found.kl_each, found.top1, found.greedy) == (again.kl_each, again.top1, again.greedy)
        assert found.checkpoint.perplexity == again.checkpoint.perplexity
        assert len(found.checkpoint.tokens_per_s.values) == 4 * 3

    def test_spoiled_scales_are_told_apart(self, trained: Path) -> None:
        word, why = judged(against(trained, "spoiled"))
        assert word == "damaged"
        assert "KL divergence" in why

    def test_two_vocabularies_are_no_one_model(self, trained: Path) -> None:
        with pytest.raises(NotComparable, match="64 and 256 words"):
            compare(str(trained / "bf16"), str(SOUND / "mistral-ct-fp8"), PYTHON, limits=ON_CPU)

    def test_a_reference_that_does_not_load_is_named(self, trained: Path, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(NotComparable, match="the reference"):
            compare(str(trained / "bf16"), str(tmp_path), PYTHON, limits=ON_CPU)
