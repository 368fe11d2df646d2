"""What one checkpoint is of another: in words, folded, and with an exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptdoctor import ruledata
from ckptdoctor.checkpoint import load
from ckptdoctor.comparing.compare import compared
from ckptdoctor.comparing.nouns import Difference
from ckptdoctor.resaving.nouns import ResaveError
from ckptdoctor.sources import open_source
from tests.conftest import ROOT

from ..resaving.made import SOUND, shard


def diff(left: Path, right: Path, *, values: bool = False) -> Difference:
    rulebook = ruledata.load()
    one, two = (load(open_source(path), rulebook) for path in (left, right))
    return compared(one, two, (lambda done, total: None) if values else None)


SAID = {
    ("llama-bf16", "llama-nf4"): "B is an nf4 of A: 14 modules quantised",
    ("llama-nf4", "llama-bf16"): "A is an nf4 of B: 14 modules quantised",
    ("llama-bf16", "llama-int8"): "B is an int8 of A: 14 modules quantised",
    ("llama-bf16", "llama-fp16"): "B is A in f16",
    ("llama-bf16-sharded", "llama-bf16"): "B is A re-sharded: 4 files in A, 1 in B",
    ("llama-nf4", "llama-fp4"): "14 modules quantised otherwise: bnb-nf4 in A, bnb-fp4 in B",
    ("mistral-bf16", "mistral-fp8"): "B is an fp8-block of A: 14 modules quantised",
    (
        "llama-bf16",
        "mistral-bf16",
    ): "B is another model of the same build: most of its weights have other shapes",
    ("llama-bf16", "llama-lora"): "B is another model: no module of A is in it",
}


@pytest.mark.parametrize("pair", SAID, ids=" ".join)
def test_in_words(pair: tuple[str, str]) -> None:
    assert SAID[pair] in diff(SOUND / pair[0], SOUND / pair[1]).words


@pytest.mark.parametrize("name", sorted(path.name for path in SOUND.iterdir()))
def test_nothing_differs_from_itself(name: str) -> None:
    found = diff(SOUND / name, SOUND / name, values=True)
    assert found.same
    assert found.values is not None
    assert found.values.counts == (found.left.tensors, 0)


def tiny(root: Path, rows: int = 4, value: bytes = b"a", names: str = "model.", layers: int = 3) -> Path:
    root.mkdir()
    shard(
        root / "model.safetensors",
        {f"{names}embed_tokens.weight": ("U8", [rows, 2], b"e" * rows * 2)}
        | {
            f"{names}layers.{i}.mlp.up_proj.weight": ("U8", [2, 2], (b"w" if i == 1 else value) * 4)
            for i in range(layers)
        },
    )
    return root


def test_rows_of_vocabulary(tmp_path: Path) -> None:
    found = diff(tiny(tmp_path / "a"), tiny(tmp_path / "b", rows=6))
    assert found.words == ("B is A with 2 rows of vocabulary more",)
    assert not found.same
    assert diff(tmp_path / "b", tmp_path / "a").words == ("B is A with 2 rows of vocabulary less",)
    tiny(tmp_path / "c", layers=1)
    tiny(tmp_path / "d", layers=1, rows=6)  # one of its two modules: not most
    assert diff(tmp_path / "c", tmp_path / "d").words == ("B is A with 2 rows of vocabulary more",)


def test_values_that_differ_and_what_never_changed(tmp_path: Path) -> None:
    found = diff(tiny(tmp_path / "a"), tiny(tmp_path / "b", value=b"b"), values=True)
    assert found.words == (
        "2 of 4 tensors that both store alike have other values",
        "never changed: model.embed_tokens.weight, model.layers.*.mlp.up_proj.weight (layers 1)",
    )
    assert not found.same
    assert diff(tmp_path / "a", tmp_path / "b").same


def test_other_beginnings_of_names(tmp_path: Path) -> None:
    found = diff(tiny(tmp_path / "a"), tiny(tmp_path / "b", names="model.language_model."), values=True)
    assert found.prefix == ("model.", "model.language_model.")
    assert (found.only_left, found.only_right, found.changed) == ((), (), ())
    assert found.values is not None
    assert found.values.counts == (4, 0)


def test_names_that_are_half_the_same_are_left_as_they_are(tmp_path: Path) -> None:
    for side, names in {
        "a": ("model.a", "model.b"),
        "b": ("model.a", "model.language_model.a", "model.language_model.b"),
    }.items():
        (tmp_path / side).mkdir()
        content = {f"{name}.weight": ("U8", [1], b"x") for name in names}
        shard(tmp_path / side / "model.safetensors", content)
    assert diff(tmp_path / "a", tmp_path / "b").prefix is None


def test_layers_are_folded(tmp_path: Path) -> None:
    found = diff(tiny(tmp_path / "a"), tiny(tmp_path / "b", layers=35))
    assert [(group.template, len(group.names)) for group in found.only_right] == [
        ("model.layers.*.mlp.up_proj", 32)
    ]


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("names", ["model.", "model.language_model."])
def test_layers_that_one_has_not(names: str, values: bool, tmp_path: Path) -> None:
    a, b = tiny(tmp_path / "a"), tiny(tmp_path / "b", names=names, layers=5)
    assert "B has 2 layers that the other has not: 3–4" in diff(a, b, values=values).words
    assert "A has 2 layers that the other has not: 3–4" in diff(b, a, values=values).words


@pytest.mark.parametrize("values", [False, True])
def test_a_module_that_no_layer_has_is_no_lack_of_layers(values: bool, tmp_path: Path) -> None:
    a, b = tiny(tmp_path / "a"), tiny(tmp_path / "b")
    more = {f"model.layers.{i}.mlp.gate.weight": ("U8", [2, 2], b"gggg") for i in range(3)}
    (b / "model.safetensors").rename(b / "model-00001-of-00002.safetensors")
    shard(b / "model-00002-of-00002.safetensors", {**more, "vision.blocks.7.mlp.weight": ("U8", [1], b"v")})
    found = diff(a, b, values=values)
    assert len(found.only_right) == 2
    assert not [said for said in found.words if "layer" in said]


def test_documents(tmp_path: Path) -> None:
    a, b = tiny(tmp_path / "a"), tiny(tmp_path / "b")
    (a / "config.json").write_text('{"x": 1, "y": {"z": true}, "same": 0}')
    (b / "config.json").write_text('{"x": 1.0, "y": {"z": 1}, "same": 0}')
    (a / "tokenizer.json").write_text("one")
    (b / "tokenizer.json").write_text("two")
    (b / "chat_template.jinja").write_text("x")
    found = {document.file: document for document in diff(a, b).documents}
    assert [(m.pointer, m.left, m.right) for m in found["config.json"].members] == [
        ("/x", "1", "1.0"),
        ("/y/z", "true", "1"),
    ]
    assert not found["tokenizer.json"].members
    assert (found["chat_template.jinja"].left, found["chat_template.jinja"].right) == (False, True)


def test_a_file_that_cannot_be_read_is_no_difference(tmp_path: Path) -> None:
    a = tiny(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ResaveError, match="cannot be read"):
        diff(a, tmp_path / "b")


def test_exit_codes_and_json(tmp_path: Path) -> None:
    def program(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ckptdoctor", "diff", *args]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ)
        )

    one = tmp_path / "one"
    shutil.copytree(SOUND / "llama-bf16", one)
    assert program(str(one), str(SOUND / "llama-bf16"), "--hash").returncode == 0
    done = program(str(one), str(SOUND / "llama-nf4"), "--hash", "--format", "json")
    value = json.loads(done.stdout)
    assert done.returncode == 1
    assert value["same"] is False
    assert sum(item["count"] for item in value["changed"]) == 14
    assert value["values"]["same"] == 7
    assert program(str(one), str(tmp_path / "none")).returncode == 2
    (one / "model.safetensors").write_bytes(b"")
    assert program(str(one), str(SOUND / "llama-nf4")).returncode == 3
