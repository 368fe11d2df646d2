"""No alarm on what transformers itself would save for configurations as people publish them, and no ok once damaged."""

from __future__ import annotations

import json
import math
import os
import random
import re
import struct
import subprocess
from collections.abc import Iterator
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
TARGETS = [parse_target("transformers==5.23.0"), parse_target("vllm==0.32.0")]
LAYER = re.compile(r"\.\d+\.")
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


def outcomes(place: Path, config: dict[str, Any], tensors: dict[str, Any]) -> dict[str, str]:
    """Return what the two loaders do with such a checkpoint."""
    place.mkdir()
    report = check_source(open_source(saved(place, config, tensors)), TARGETS)
    return {verdict.target.loader: verdict.outcome for verdict in report.verdicts}


def damaged(tensors: dict[str, Any], rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield damages that no loader can make good: names, kinds and layers lost, a matrix cut."""
    matrices = [name for name, (_, shape) in tensors.items() if len(shape) == 2 and LAYER.search(name)]
    if not matrices:
        return
    kind = rng.choice(sorted({LAYER.sub(".*.", name) for name in matrices}))
    layer = LAYER.split(matrices[-1])[0] + "".join(LAYER.findall(matrices[-1])[:1])
    one = rng.choice(matrices)
    dtype, (rows, columns) = tensors[one]
    yield "all renamed", {f"zz.{name}": value for name, value in tensors.items()}
    yield f"no {kind}", {name: value for name, value in tensors.items() if LAYER.sub(".*.", name) != kind}
    yield f"no {layer}", {name: value for name, value in tensors.items() if not name.startswith(layer)}
    yield f"no {one}", {name: value for name, value in tensors.items() if name != one}
    yield f"{one} renamed", {name + "x" * (name == one): value for name, value in tensors.items()}
    yield f"{one} a row short", {**tensors, one: [dtype, [rows - 1, columns]]}


@pytest.mark.slow
def test_nothing_published_is_alarmed_at(built: list[dict[str, Any]], tmp_path: Path) -> None:
    found = {
        (number, config["architectures"][0]): outcomes(tmp_path / str(number), config, tensors)[
            "transformers"
        ]
        for number, (config, tensors) in enumerate(zip(PUBLISHED, built, strict=True))
    }
    assert {key: word for key, word in found.items() if word not in ("ok", "unknown")} == {}
    assert sum(word == "ok" for word in found.values()) >= 50


@pytest.mark.slow
def test_nothing_that_was_damaged_since_is_ok(built: list[dict[str, Any]], tmp_path: Path) -> None:
    still: list[tuple[str, str, str]] = []
    rng = random.Random(3)
    tried = 0
    for number, (config, tensors) in enumerate(zip(PUBLISHED, built, strict=True)):
        for place, (damage, left) in enumerate(damaged(tensors, rng)):
            words = outcomes(tmp_path / f"{number}-{place}", config, left)
            still += [
                (config["architectures"][0], damage, name) for name, word in words.items() if word == "ok"
            ]
            tried += 1
    assert still == []
    assert tried > 300


def test_a_part_that_a_config_does_not_have_is_not_guessed() -> None:
    """A class that makes the part by itself gives it other values than the part's own class has."""
    blueprint = {"sizes": {"vision_config.hidden_size": 768}}
    assert Keys({"vision_config": {}}, blueprint).value("vision_config.hidden_size") == 768
    with pytest.raises(Unknowable, match="no vision_config"):
        Keys({}, blueprint).value("vision_config.hidden_size")
