"""What a re-save holds: every tensor with the bytes it had, in the files asked for, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ckptdoctor import ruledata
from ckptdoctor.resaving import layout
from ckptdoctor.resaving.layout import joined
from ckptdoctor.resaving.nouns import Piece, ResaveError, ResaveUsage
from ckptdoctor.resaving.planning import Wanted
from ckptdoctor.resaving.resave import proposed
from ckptdoctor.sources.local import LocalSource
from ckptdoctor.targets import parse_target
from tests.conftest import ROOT

from .made import SOUND, contents, resaved, shard, tensors

PICKLE = ROOT / "fixtures" / "pickles" / "zip.bin"


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


def test_what_is_stray_is_not_known_where_something_is_missing(tmp_path: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(SOUND / "llama-bf16", root)
    resaved(root, tmp_path / "less", Wanted(drop=("*.up_proj.weight",)))
    with pytest.raises(ResaveError, match=r"up_proj\.weight is missing"):
        resaved(tmp_path / "less", tmp_path / "out", Wanted(drop_stray=True))
    (root / "config.json").write_text("{}")
    with pytest.raises(ResaveError, match="architecture"):
        resaved(root, tmp_path / "out", Wanted(drop_stray=True))


@pytest.mark.parametrize("begin", [-1, 1])
def test_bytes_that_are_not_all_there_are_refused(begin: int, tmp_path: Path) -> None:
    """Two tensors that share a byte, and one that ends past the file."""
    root = tmp_path / "source"
    root.mkdir()
    spans = {"a": [0, 4], "b": [4 + begin, 8 + begin]} if begin < 0 else {"a": [0, 4], "b": [4, 9]}
    header = {
        name: {"dtype": "U8", "shape": [end - at], "data_offsets": [at, end]}
        for name, (at, end) in spans.items()
    }
    text = json.dumps(header).encode()
    (root / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"12345678")
    with pytest.raises(ResaveError, match="not all there"):
        resaved(root, tmp_path / "out")


def test_metadata_that_files_do_not_agree_on_goes(tmp_path: Path) -> None:
    root = pair(tmp_path, b"xyz")
    for number, value in ((1, "one"), (2, "two")):
        path = root / f"model-0000{number}-of-00002.safetensors"
        raw = path.read_bytes()
        size = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:size])
        header["__metadata__"] = {"format": "pt", "same": "x", "other": value}
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + raw[size:])
    resaved(root, tmp_path / "out", Wanted(0))
    raw = (tmp_path / "out" / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["__metadata__"] == {"format": "pt", "same": "x"}


def test_a_header_longer_than_readers_accept_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAX_HEADER", 2000)
    resaved(SOUND / "llama-bf16", tmp_path / "cut", Wanted(100_000))
    with pytest.raises(ResaveError, match="smaller --shard-size"):
        resaved(SOUND / "llama-bf16", tmp_path / "out", Wanted(0))


def test_nothing_is_written_that_a_loader_is_worse_off_with(tmp_path: Path) -> None:
    source, out = str(SOUND / "llama-bf16"), str(tmp_path / "out")
    rulebook = ruledata.load()
    targets = [parse_target("vllm==0.32.0", rulebook)]
    with pytest.raises(ResaveError, match=r"vllm==0\.32\.0 would go from ok to \S+ \(structure/"):
        proposed(LocalSource(source), out, Wanted(drop=("*.down_proj.weight",)), targets, rulebook)
    assert proposed(LocalSource(source), out, Wanted(), targets, rulebook).after.verdicts[0].outcome == "ok"


def test_what_stands_for_the_same_weights_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(SOUND / "llama-bf16", root)
    shutil.copy(PICKLE, root / "pytorch_model.bin")
    shutil.copy(root / "model.safetensors", root / "model.safetensors.unused")
    resaved(root, tmp_path / "out")
    assert contents(tmp_path / "out").keys() == contents(SOUND / "llama-bf16").keys()
    assert tensors(tmp_path / "out") == tensors(SOUND / "llama-bf16")


def test_holes_in_a_file_stay_holes(tmp_path: Path) -> None:
    """Data, a hole, data, and a hole to the end: each a tensor, so large that it is copied by itself."""
    root, size = tmp_path / "source", 4 * 1024 * 1024
    root.mkdir()
    header = {
        name: {"dtype": "U8", "shape": [size], "data_offsets": [at * size, (at + 1) * size]}
        for at, name in enumerate("abcd")
    }
    text = json.dumps(header).encode()
    path = root / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for at in (0, 2):
            file.seek(8 + len(text) + at * size)
            file.write(bytes([at + 1]) * size)
        file.truncate(8 + len(text) + 4 * size)
    for drop in ((), ("d",), ("a", "c", "d")):
        out = tmp_path / f"out{len(drop)}"
        resaved(root, out, Wanted(drop=drop))
        found, before = tensors(out), tensors(root)
        assert found == {name: before[name] for name in before if name not in drop}
        made = (out / "model.safetensors").stat()
        if path.stat().st_blocks * 512 < 3 * size:  # the disk knows holes
            assert made.st_blocks * 512 < made.st_size - size // 2


def test_neighbours_are_copied_in_one_go() -> None:
    pieces = [Piece("a", 0, 4), Piece("a", 4, 4), Piece("b", 8, 1), Piece("a", 8, 2)]
    assert joined(pieces) == (Piece("a", 0, 8), Piece("b", 8, 1), Piece("a", 8, 2))
