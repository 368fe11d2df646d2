"""What a re-save holds: every tensor with the bytes it had, in the files asked for, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ckptdoctor.resaving.layout import joined
from ckptdoctor.resaving.nouns import Piece, ResaveError, ResaveUsage
from ckptdoctor.resaving.planning import Wanted

from .made import SOUND, contents, resaved, shard, tensors


@pytest.mark.parametrize(
    "name", ["llama-nf4-sharded", "llama-bf16-sharded", "mistral-torchao", "gptoss-mxfp4", "llama-lora"]
)
@pytest.mark.parametrize("size", [None, 0, 150_000])
def test_every_tensor_is_there_with_the_bytes_it_had(name: str, size: int | None, tmp_path: Path) -> None:
    if size == 150_000 and name == "mistral-torchao":
        pytest.skip("one file; torchao's metadata would describe tensors of another")
    resaved(SOUND / name, tmp_path / "out", Wanted(size))
    assert tensors(tmp_path / "out") == tensors(SOUND / name)
    other = {n for n in contents(SOUND / name) if ".safetensors" not in n}
    assert {n: c for n, c in contents(tmp_path / "out").items() if ".safetensors" not in n} == {
        n: c for n, c in contents(SOUND / name).items() if n in other
    }
    shards = list((tmp_path / "out").glob("*.safetensors"))
    index = tmp_path / "out" / "model.safetensors.index.json"
    assert index.exists() == (len(shards) > 1)
    if index.exists():
        value = json.loads(index.read_bytes())
        assert set(value["weight_map"]) == set(tensors(SOUND / name))
        assert set(value["weight_map"].values()) == {path.name for path in shards}


def test_leaves_of_one_module_share_a_file(tmp_path: Path) -> None:
    resaved(SOUND / "llama-nf4", tmp_path / "out", Wanted(30_000))
    found = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_bytes())["weight_map"]
    assert len(set(found.values())) > 4
    quantised = {n.removesuffix(".absmax") for n in found if n.endswith(".weight.absmax")}
    assert quantised
    for weight in quantised:
        assert len({file for name, file in found.items() if name.startswith(weight)}) == 1


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    for out in ("a", "b"):
        resaved(SOUND / "llama-nf4-sharded", tmp_path / out, Wanted(0))
    resaved(tmp_path / "a", tmp_path / "c", Wanted(0))
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_safetensors_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    from safetensors import safe_open

    resaved(SOUND / "llama-nf4-sharded", tmp_path / "out", Wanted(0))
    with safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert set(file.keys()) == set(tensors(SOUND / "llama-nf4-sharded"))


def pair(tmp_path: Path, second: bytes, gap: int = 0) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    shard(
        root / "model-00001-of-00002.safetensors",
        {"a": ("F32", [2], b"12345678"), "b": ("U8", [3], b"xyz")},
        gap,
    )
    shard(
        root / "model-00002-of-00002.safetensors", {"b": ("U8", [3], second), "c": ("BF16", [1], b"pq")}, gap
    )
    return root


def test_holes_and_doubles_are_left_out(tmp_path: Path) -> None:
    root = pair(tmp_path, b"xyz", gap=40)
    resaved(root, tmp_path / "out", Wanted(0))
    found = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert set(tensors(tmp_path / "out")) == {"a", "b", "c"}
    assert found.endswith(b"12345678pqxyz")  # wide dtypes first, so that each is aligned


def test_doubles_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResaveError, match=r"b is in .* with different values"):
        resaved(pair(tmp_path, b"xyZ"), tmp_path / "out", Wanted(0))
    assert not (tmp_path / "out").exists()


def test_dropped_and_renamed(tmp_path: Path) -> None:
    root = pair(tmp_path, b"xyz")
    resaved(root, tmp_path / "out", Wanted(0, drop=("b",), rename=(("a", "model.a"),)))
    assert set(tensors(tmp_path / "out")) == {"model.a", "c"}
    for wanted in (
        Wanted(drop=("q*",)),
        Wanted(rename=(("q", "r"),)),
        Wanted(rename=(("a", "b"),)),
        Wanted(drop=("*",)),
    ):
        with pytest.raises(ResaveUsage):
            resaved(root, tmp_path / "no", wanted)


def test_stray_tensors_are_what_the_class_does_not_ask_for(tmp_path: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(SOUND / "llama-bf16-sharded", root)
    shard(root / "extra.safetensors", {"model.layers.0.mlp.extra.weight": ("F32", [1], b"1234")})
    index = root / "model.safetensors.index.json"
    value = json.loads(index.read_bytes())
    value["weight_map"]["model.layers.0.mlp.extra.weight"] = "extra.safetensors"
    index.write_text(json.dumps(value))
    resaved(root, tmp_path / "kept", Wanted(0))
    resaved(root, tmp_path / "out", Wanted(0, drop_stray=True))
    assert len(tensors(tmp_path / "kept")) == len(tensors(tmp_path / "out")) + 1
    assert tensors(tmp_path / "out") == tensors(SOUND / "llama-bf16-sharded")


def test_neighbours_are_copied_in_one_go() -> None:
    pieces = [Piece("a", 0, 4), Piece("a", 4, 4), Piece("b", 8, 1), Piece("a", 8, 2)]
    assert joined(pieces) == (Piece("a", 0, 8), Piece("b", 8, 1), Piece("a", 8, 2))
