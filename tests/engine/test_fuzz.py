"""Properties over generated input: whatever the bytes, a report comes back, valid and without a crash."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bench.fuzz import bases, folders
from bench.fuzz.damage import damaged
from ckptdoctor.render import Page, render
from ckptdoctor.rulebook.recipe import build
from ckptdoctor.sources.memory import MemorySource
from tests.conftest import ROOT
from tests.support.shipped import check_source, default_targets

TARGETS = default_targets()
CARD = json.loads((ROOT / "rules/card.schema.json").read_text(encoding="utf-8"))
RECIPE = Draft202012Validator({"$defs": CARD["$defs"], "$ref": "#/$defs/recipe"})
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
)
sizes = st.integers(-2, 2**65) | st.integers(0, 64)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["BF16", "F32", "U8", "F8_E4M3", "F4", "X9"]) | anything,
        "shape": st.lists(sizes, max_size=4) | anything,
        "data_offsets": st.tuples(sizes, sizes).map(list) | anything,
    }
)
names = st.sampled_from(
    [
        "model.norm.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.mlp.down_proj.weight.absmax",
        "x",
    ]
) | st.text(max_size=30)
headers = st.dictionaries(names, entries | anything, max_size=6)
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def safetensors(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def check(files: Mapping[str, bytes]) -> None:
    report = check_source(MemorySource("model", files), TARGETS)
    assert report.crashes == ()
    document = json.loads(render("json", [report], Page()))
    assert document["schema"] == 1
    shown = render("text", [report], Page())
    assert not any(ord(mark) < 32 and mark not in "\n" for mark in shown)


@quick
@given(headers, st.binary(max_size=64), anything)
def test_any_header_and_config(header: dict[str, object], body: bytes, config: object) -> None:
    check({"model.safetensors": safetensors(header, body), "config.json": json.dumps(config).encode()})


@quick
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check({"model.safetensors": data, "config.json": data, "model.safetensors.index.json": data})


@quick
@given(
    st.dictionaries(names, st.sampled_from(["a.safetensors", "../a", "/a", "b"]) | anything, max_size=5),
    anything,
)
def test_any_index(weight_map: dict[str, object], metadata: object) -> None:
    index = {"weight_map": weight_map, "metadata": metadata}
    check({"model.safetensors.index.json": json.dumps(index).encode(), "a.safetensors": safetensors({}, b"")})


@quick
@given(st.integers(0, 2**32))
def test_any_damage_to_a_checkpoint(seed: int) -> None:
    rng = random.Random(seed)
    folder = damaged(rng.choice(bases.folders()), bases.folders(), rng)
    assert folders.complaint(folder, folders.drawn(folder, rng)) == ""


FOUND = yaml.safe_load((ROOT / "fixtures/fuzz/folders.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FOUND)
def test_checkpoints_that_raised(name: str) -> None:
    folder = bases.built(FOUND[name])
    assert folders.complaint(folder, folders.everything(folder)) == ""


literals = st.tuples(st.sampled_from(["BF16", "U8", "Z"]), st.lists(sizes)).map(list)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "config": anything,
        "metadata": anything,
        "metadata_only": st.booleans(),
        "index": st.booleans() | anything,
        "files": st.dictionaries(st.text(min_size=1, max_size=8), anything, max_size=3) | anything,
        "tensors": st.dictionaries(
            names, st.tuples(st.sampled_from(["BF16", "U8", "Z"]), st.lists(sizes)).map(list) | anything
        ),
        "shards": anything,
    },
)


@quick
@given(recipes)
def test_any_recipe_is_built_or_refused(recipe: dict[str, object]) -> None:
    """A recipe the card schema accepts is built and checked; any other is refused by the schema, with a message."""
    problems = list(RECIPE.iter_errors(recipe))
    if problems:
        assert all(problem.message for problem in problems)
        return
    try:
        source = build(recipe)
    except ValueError:  # a value that does not fit its dtype, as documented
        return
    report = check_source(source, TARGETS, metadata_only=bool(recipe.get("metadata_only")))
    assert report.crashes == ()
