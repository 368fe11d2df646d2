"""No alarm on what transformers itself would save for configurations as people publish them."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.expected.formula import Unknowable
from ckptdoctor.expected.keys import Keys
from ckptdoctor.sources import open_source
from tests.support.shipped import check_source, parse_target

PUBLISHED = [
    json.loads(line) for line in (Path(__file__).parent / "published.jsonl").read_text("utf-8").splitlines()
]
"""Numbers that a class's own defaults and random draws do not have."""
SIZES = {"float32": ("F32", 4), "int64": ("I64", 8), "bool": ("BOOL", 1)}

BUILD = """
import json, sys, torch, transformers
for line in sys.stdin:
    config = json.loads(line)
    settings = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(settings)
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    print(json.dumps({k: [str(t.dtype).removeprefix("torch."), list(t.shape)] for k, t in model.state_dict().items()
                      if k not in tied}))
"""


@pytest.fixture(scope="module")
def built() -> list[dict[str, Any]]:
    """The tensors of each model, built without memory."""
    python = os.environ.get("CKPTDOCTOR_TF5")
    if not python:
        pytest.skip("CKPTDOCTOR_TF5 names no Python with transformers 5")
    lines = "".join(json.dumps(config) + "\n" for config in PUBLISHED)
    done = subprocess.run([python, "-c", BUILD], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def saved(directory: Path, config: dict[str, Any], tensors: dict[str, Any]) -> Path:
    """Write the header that ``tensors`` would have, and nothing but a hole for the values."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        word, size = SIZES[dtype]
        begin, end = end, end + size * math.prod(shape)
        header[name] = {"dtype": word, "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return directory


@pytest.mark.slow
def test_nothing_published_is_alarmed_at(built: list[dict[str, Any]], tmp_path: Path) -> None:
    outcomes = {}
    for number, (config, tensors) in enumerate(zip(PUBLISHED, built, strict=True)):
        place = tmp_path / str(number)
        place.mkdir()
        report = check_source(
            open_source(saved(place, config, tensors)), [parse_target("transformers==5.23.0")]
        )
        outcomes[number, config["architectures"][0]] = report.verdicts[0].outcome
    assert {key: word for key, word in outcomes.items() if word not in ("ok", "unknown")} == {}
    assert sum(word == "ok" for word in outcomes.values()) >= 50


def test_a_part_that_a_config_does_not_have_is_not_guessed() -> None:
    """A class that makes the part by itself gives it other values than the part's own class has."""
    blueprint = {"sizes": {"vision_config.hidden_size": 768}}
    assert Keys({"vision_config": {}}, blueprint).value("vision_config.hidden_size") == 768
    with pytest.raises(Unknowable, match="no vision_config"):
        Keys({}, blueprint).value("vision_config.hidden_size")
