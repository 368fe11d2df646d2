"""Adapters: which modules a config targets, expressions out of hostile configs, verdicts with and without the base."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.loaders.adapter import targets as adapter_targets
from ckptdoctor.skiplists.safe_regex import Expression, UnsafeRegex, is_safe
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, parse_target

from ..observe.cases import adapter_base, load_cases, materialise
from ..observe.paths import OBSERVED, SOUND

Q0, Q1, QX = (f"model.layers.{n}.self_attn.q_proj" for n in (0, 1, 11))
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|ffn|dense).*?(?:k_proj|v_proj|q_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:k_proj|v_proj|q_proj)))"
)


@pytest.mark.parametrize(
    ("config", "names", "taken"),
    [
        ({"target_modules": ["q_proj"]}, [Q0, "q_proj", "model.my_q_proj"], [True, True, False]),
        ({"target_modules": "q_proj"}, [Q0, "q_proj"], [False, True]),
        ({"target_modules": r".*\.1\..*_proj"}, [Q0, Q1, QX], [False, True, False]),
        ({"target_modules": UNSLOTH}, [Q0, "model.layers.0.mlp.up_proj"], [True, False]),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, [Q0, Q1, QX], [False, True, False]),
        ({"target_modules": ["q_proj"], "layers_to_transform": 1}, [Q0, Q1], [False, True]),
        ({"target_modules": [Q0], "layers_to_transform": [1]}, [Q0], [True]),
        ({"target_modules": ["q_proj"], "layers_to_transform": ["1"]}, [Q1], [False]),
        (
            {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "blocks"},
            [Q1, "model.blocks.1.q_proj"],
            [False, True],
        ),
        (
            {"target_modules": ["q_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]},
            [Q0, Q1],
            [True, False],
        ),
        ({"target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"}, [Q0, Q1], [False, True]),
        ({"target_modules": ["q_proj"], "modules_to_save": ["self_attn"]}, [Q0], [False]),
        ({"target_modules": []}, [Q0], [False]),
    ],
)
def test_targets_are_matched_as_peft_does(
    config: dict[str, Any], names: list[str], taken: list[bool]
) -> None:
    targets = adapter_targets.read(config, None)
    assert not isinstance(targets, str)
    assert [targets.takes(name) for name in names] == taken


def test_rank_patterns() -> None:
    config = {
        "r": 4,
        "target_modules": ["q_proj"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 8, "k_proj": 2},
    }
    targets = adapter_targets.read(config, None)
    assert not isinstance(targets, str)
    assert [targets.rank_of(name) for name in (Q0, Q1, "k_proj", QX)] == [4, 8, 2, 4]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(?:a*)*b",
        r"(.*)\1",
        "(?=a)b",
        "(?P<x>a)",
        "((a{2,}b)+)",
        ".*" * 9,
        "(a",
        "a)",
        "(?:.*|a.*b.*c.*.*.*)",
    ],
)
def test_expressions_that_could_take_forever_are_not_run(pattern: str) -> None:
    assert not is_safe(pattern)
    with pytest.raises(UnsafeRegex):
        Expression(pattern)


@pytest.mark.parametrize("pattern", [r".*\.(q|v)_proj$", r"[*+]{3}\(a+\)?", UNSLOTH, "q_proj", ""])
def test_expressions_that_people_write_are(pattern: str) -> None:
    assert is_safe(pattern)
    Expression(pattern)  # raises for one that is not


def test_without_the_base_nothing_is_said_that_the_base_would_take_back() -> None:
    """No verdict, the observed one, or one harm for another: a target that is a norm looks like one without a pair."""
    records = (OBSERVED / "peft-0.21.2.jsonl").read_text(encoding="utf-8").splitlines()
    observed = {record["case"]: record["outcome"] for record in map(json.loads, records)}
    assert len(observed) > 90
    wrong, judged = [], 0
    for case in load_cases():
        if case.id in observed:
            outcome = _verdict(case, None)
            judged += outcome != "unknown"
            if outcome not in ("unknown", observed[case.id]) and "ok" in (outcome, observed[case.id]):
                wrong.append((case.id, outcome, observed[case.id]))
    assert not wrong
    assert judged > 35


def _verdict(case: Any, base: Path | None) -> str:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        source = open_source(materialise(case, Path(folder)))
        onto = None if base is None else open_source(base)
        [verdict] = check_source(source, [parse_target("peft")], base=onto).verdicts
    return verdict.outcome


def test_a_base_that_is_not_described_gives_no_verdict(tmp_path: Path) -> None:
    [case] = [case for case in load_cases() if case.id == "llama-lora"]
    (tmp_path / "config.json").write_text('{"model_type": "x", "architectures": ["XForCausalLM"]}')
    assert _verdict(case, tmp_path) == "unknown"
    assert _verdict(case, adapter_base(case)) == "ok"


def test_base_must_be_a_model(tmp_path: Path) -> None:
    done = _check(SOUND / "llama-lora", "--base", tmp_path)
    assert done.returncode == 2
    assert "expected a model directory" in done.stderr


def test_peft_is_a_default_target_of_adapters_only() -> None:
    for name, there in (("llama-lora", True), ("llama-bf16", False)):
        assert ("peft " in _check(SOUND / name).stdout) is there


def _check(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ckptdoctor", "check", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
