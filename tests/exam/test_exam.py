"""The exam, from its records: no silent harm is called ok, no sound model is alarmed at, and the bar is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.exam.score import Answer, answers, markdown

BAR = {"transformers-5.23.0": 0.98, "vllm-0.32.0": 0.95}

KNOWN = {
    "vllm-0.32.0 GPTNeoXForCausalLM tied-flipped",  # transformers inside vLLM drops a head that is stored and tied
    "vllm-0.32.0 GPTBigCodeForCausalLM kv-heads-text",  # logits a rounding apart, by the observer's bound
}
"""Silent harm that is still called ok."""


@cache
def found() -> tuple[Answer, ...]:
    return tuple(answers())


def test_nothing_silent_is_called_ok() -> None:
    missed = {f"{a.target} {a.model} {a.damage}" for a in found() if a.word == "silent missed"}
    assert missed <= KNOWN, missed - KNOWN


def test_no_sound_model_is_alarmed_at() -> None:
    sound = [a for a in found() if a.damage in ("sound", "sharded") and a.observed == "ok"]
    assert len(sound) > 100
    assert {(a.target, a.model) for a in sound if a.word == "false alarm"} == set()


@pytest.mark.parametrize("target", BAR)
def test_the_bar_is_held(target: str) -> None:
    words = Counter(a.word for a in found() if a.target == target)
    judged = words.total() - words["unknown"]
    assert words["agrees"] >= BAR[target] * judged, words
    assert judged > 500


def test_the_readme_has_the_table(generated: Callable[[Path, str], None]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    begin, end = "<!-- exam -->\n", "\n<!-- /exam -->"
    before, _, rest = text.partition(begin)
    assert rest
    generated(ROOT / "README.md", before + begin + markdown(found()) + end + rest.partition(end)[2])
