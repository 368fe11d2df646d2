"""What is given away about a checkpoint whose load went otherwise than predicted: its kind, never its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from ckptdoctor.probe import recipe
from ckptdoctor.probe.recipe import Cut
from ckptdoctor.probe.reporting import config_of, scrubbed
from ckptdoctor.probe.workers.stored import Stored
from ckptdoctor.sources import open_source
from tests.observe.cases import load_cases, materialise
from tests.observe.paths import SOUND
from tests.support.shipped import check_source, parse_target

TARGETS = ("transformers==5.23.0", "vllm==0.32.0,vllm-bnb-plugin==0.0.3")
EVERY, ONE = Cut(0, False), Cut(1, True)


@pytest.mark.parametrize(
    "text",
    [
        "/home/jane/models/secret-project/model.safetensors",
        "~/models/secret-project/x",
        "C:\\Users\\jane\\secret-project",
        "hf_AbCdEfGhIjKlMnOp",
        "https://jane:secret-project@host/x",
    ],
)
def test_no_path_and_no_token_is_told(text: str) -> None:
    told = scrubbed(f"OSError: {text} is not there: model.layers.0.mlp.down_proj.weight, 4/8")
    assert not any(word in told for word in ("jane", "secret", "AbCd"))
    assert told.endswith("is not there: model.layers.0.mlp.down_proj.weight, 4/8")


def test_a_config_keeps_numbers_and_words_alone(tmp_path: Path) -> None:
    content = {
        "_name_or_path": "/home/jane/x",
        "model_type": "llama",
        "hidden_size": 64,
        "chat": "You are Jane's assistant",
        "token": "hf_AbCdEfGhIjKlMnOp",
        "quantization_config": {"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["lm_head"]},
    }
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert config_of(tmp_path) == {
        "model_type": "llama",
        "hidden_size": 64,
        "chat": "…",
        "token": "…",
        "quantization_config": {"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["lm_head"]},
    }


def said(directory: Path) -> list[tuple[str, tuple[str, ...]]]:
    report = check_source(open_source(str(directory)), [parse_target(text) for text in TARGETS])
    return [(verdict.outcome, verdict.because) for verdict in report.verdicts]


@pytest.mark.parametrize(
    "name", ["llama-bf16-sharded", "llama-nf4-dq", "llama-int8", "llama-gptq", "qwen3moe-fp8"]
)
def test_a_recipe_of_a_sound_checkpoint_is_sound(name: str, tmp_path: Path) -> None:
    for number, cut in enumerate((EVERY, ONE)):
        out = tmp_path / str(number) / name
        out.parent.mkdir()
        recipe.write(SOUND / name, Stored(SOUND / name), out, cut)
        assert said(out) == said(SOUND / name)


@pytest.mark.parametrize(
    "case", ["plain-down-missing", "bnb4-absmax-missing", "bnb4-dq-nested-absmax-missing"]
)
def test_a_recipe_of_a_broken_checkpoint_is_broken_alike(case: str, tmp_path: Path) -> None:
    place = materialise(next(one for one in load_cases() if one.id == case), tmp_path)
    out = tmp_path / "recipe" / place.name
    out.parent.mkdir()
    recipe.write(place, Stored(place), out, EVERY)
    assert said(out) == said(place)
    assert said(out)[0][0] != "ok"


def test_a_recipe_holds_no_value_of_the_checkpoint_and_fewer_of_everything(tmp_path: Path) -> None:
    source, out = SOUND / "llama-nf4", tmp_path / "small"
    recipe.write(source, Stored(source), out, ONE)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (config["num_hidden_layers"], config["vocab_size"]) == (1, recipe.VOCABULARY)
    with (
        safe_open(source / "model.safetensors", "np") as was,
        safe_open(out / "model.safetensors", "np") as now,
    ):
        names = set(now.keys())
        assert names < set(was.keys())
        assert not [name for name in names if ".layers.1." in name]
        for name in names - {name for name in names if "quant_map" in name or "bitsandbytes__" in name}:
            if not name.endswith("_proj.weight"):
                continue
            assert now.get_tensor(name).shape == was.get_tensor(name).shape
            assert (now.get_tensor(name) == was.get_tensor(name)).mean() < 0.05, name


def test_tries_go_from_small_to_large_until_one_shows_it(tmp_path: Path) -> None:
    tried: list[int] = []

    def shows(place: Path) -> bool:
        tried.append(sum(path.stat().st_size for path in place.iterdir()))
        return len(tried) == 3

    cut = recipe.smallest(SOUND / "llama-bf16", tmp_path / "out", shows)
    assert cut == Cut(0, True)
    assert tried[0] == min(tried)
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert recipe.smallest(SOUND / "llama-bf16", tmp_path / "none", lambda place: False) is None
    assert not (tmp_path / "none").exists()
