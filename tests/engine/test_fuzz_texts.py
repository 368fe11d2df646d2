"""What the fuzzer found in settings and cards, replayed; and a fixed sample of what it tries everywhere."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from bench.fuzz import headers, texts
from bench.fuzz.bases import sound
from bench.fuzz.inputs import one
from ckptdoctor import settings
from ckptdoctor.checkpoint.header import parse
from ckptdoctor.rulebook import document
from ckptdoctor.ruledata import RulebookError
from tests.conftest import ROOT

GUIDED = json.loads((ROOT / "fixtures/fuzz/guided.json").read_text())
LAUGHS = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize("text", ["for = " + "[" * 3000, "a = " + "{a = " * 3000])
def test_settings_nested_too_deeply(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ckptdoctor.toml"
    file.write_text(text)
    with pytest.raises(settings.SettingsError, match="nested too deeply"):
        settings.read(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "9" * 5000, "too many digits"),
        ("a: &a [*a]", "nested too deeply"),
        (LAUGHS, "more than 200000 values"),
    ],
)
def test_cards_that_blow_up(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(text)
    with pytest.raises(RulebookError, match=why):
        document.load(file, "card.yaml")


def test_any_damage_to_settings_baselines_cards_and_errors() -> None:
    assert texts.run(8, random.Random(0)) == []


@pytest.mark.parametrize("number", range(len(GUIDED)))
def test_inputs_that_reached_new_code(number: int) -> None:
    """The corpus of ``python -m bench.guided``, less the sound files that it began with."""
    one(base64.b64decode(GUIDED[number]))


@pytest.mark.parametrize(
    "text",
    [
        b'{"__metadata__":{"format":"\xff"}}',
        b'{"__metadata__":{"\xff":"a","format":"pt"},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    ],
)
def test_bytes_that_the_fast_decoder_passes_over(text: bytes) -> None:
    raw = len(text).to_bytes(8, "little") + text
    assert [defect.code for defect in parse(raw, len(raw), "m", fast=True)[1]] == ["header-not-utf8"]


def test_any_damage_to_a_header() -> None:
    rng, cut = random.Random(0), headers.bases(sound())
    for number in range(5000):
        raw = headers.mutate(rng.choice(cut), rng)
        assert headers.complaint(raw, thorough=number % 4 == 0) == "", raw
