"""Where bytes come from: what is listed, what is followed, and that nothing outside is ever opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckptdoctor.sources import SourceError, open_source
from ckptdoctor.sources.base import Span, Stat, Unavailable
from ckptdoctor.sources.discover import checkpoints_below
from ckptdoctor.sources.local import LocalSource
from ckptdoctor.sources.memory import MemorySource
from ckptdoctor.sources.single import SingleSource
from tests.support.shipped import load

from ..support.headers import shard

INDEX = "model.safetensors.index.json"
SHARD = shard({"a.weight": ("F32", [2, 2])})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4096\n"


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def index(*files: str) -> bytes:
    return json.dumps({"weight_map": {f"t{n}.weight": file for n, file in enumerate(files)}}).encode()


def read(source: LocalSource | SingleSource, *spans: Span) -> list[bytes | None]:
    return [None if isinstance(data, Unavailable) else data for data in source.read_many(spans)]


def test_lists_three_levels_and_leaves_out_what_tools_keep(tmp_path: Path) -> None:
    kept = {"config.json": b"{}", "sub/a.bin": b"12", "sub/deep/b.bin": b"", "sub/c .txt": b"x"}
    skipped = [
        ".git/x",
        ".cache/huggingface/x",
        ".ckptdoctor/x",
        "__pycache__/x",
        "sub/.git/x",
        "sub/.ckptdoctor/x",
        "sub/deep/deeper/x",
    ]
    put(tmp_path, {**kept, **dict.fromkeys(skipped, b"")})
    found = LocalSource(tmp_path).entries()
    assert found.pop(".ckptdoctor") == Stat(0, "foreign")  # not one of its files, but that it is not ours
    assert found == {name: Stat(len(data)) for name, data in sorted(kept.items())}


def test_reads_spans(tmp_path: Path) -> None:
    source = LocalSource(put(tmp_path, {"a": b"0123456789", "d/b": b"xyz"}))
    spans = [
        Span("a", 2, 3),
        Span("a", 8, 9),
        Span("a", 20, 1),
        Span("d/b", 0, None),
        Span("a", 9, None),
        Span("no", 0, 1),
    ]
    assert read(source, *spans) == [b"234", b"89", b"", b"xyz", b"9", None]


def test_label_is_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"m-bnb-4bit/config.json": b"{}"})
    monkeypatch.chdir(tmp_path)
    assert open_source("./m-bnb-4bit/").label == "./m-bnb-4bit/"


def test_pointers_are_known_by_what_they_state(tmp_path: Path) -> None:
    source = LocalSource(put(tmp_path, {"model.safetensors": POINTER, "big": POINTER.ljust(2000)}))
    assert source.entries()["model.safetensors"] == Stat(4096, "pointer", "0" * 64)
    assert source.entries()["big"].state == "here"
    assert read(source, Span("model.safetensors", 0, 10)) == [None]


@pytest.mark.parametrize("real_pointer", [True, False], ids=["local", "memory"])
def test_pointers_in_a_checkpoint(tmp_path: Path, real_pointer: bool) -> None:
    files = {"model.safetensors": POINTER, "config.json": POINTER, "pytorch_model.bin": POINTER}
    source = LocalSource(put(tmp_path, files)) if real_pointer else MemorySource("m", files)
    found = {(d.code, d.at.file) for d in load(source).defects}
    expected = {("lfs-pointer", "model.safetensors"), ("json-lfs-pointer", "config.json")}
    assert found >= expected
    assert (("lfs-pointer", "pytorch_model.bin") in found) == real_pointer
    ckpt = load(source, metadata_only=True)
    assert [d.code for d in ckpt.defects] == ["json-lfs-pointer"]
    assert ckpt.shards["model.safetensors"].size == 4096


def test_links_inside_are_followed_and_links_outside_are_not(tmp_path: Path) -> None:
    root = put(tmp_path / "m", {"blob": SHARD, "sub/x": b"1"})
    secret = put(tmp_path, {"outside/secret": SHARD}) / "outside"
    (root / "model.safetensors").symlink_to("blob")
    (root / "out.safetensors").symlink_to("../outside/secret")
    (root / "abs.safetensors").symlink_to(secret / "secret")
    (root / "gone.safetensors").symlink_to("nowhere")
    (root / "loop.safetensors").symlink_to("loop.safetensors")
    (root / "dir-out").symlink_to(secret)
    (root / "dir-in").symlink_to("sub")
    source = LocalSource(root)
    states = {name: stat.state for name, stat in source.entries().items()}
    assert states == {
        "blob": "here",
        "sub/x": "here",
        "model.safetensors": "here",
        "out.safetensors": "link-out",
        "abs.safetensors": "link-out",
        "dir-out": "link-out",
        "gone.safetensors": "unreadable",
        "loop.safetensors": "unreadable",
    }
    assert read(source, Span("model.safetensors", 0, 8), Span("out.safetensors", 0, 8)) == [SHARD[:8], None]
    assert read(source, Span("../outside/secret", 0, 8), Span(str(secret / "secret"), 0, 8)) == [None, None]
    ckpt = load(source)
    found = {(defect.code, defect.at.file) for defect in ckpt.defects}
    assert found == {
        ("link-out", "out.safetensors"),
        ("link-out", "abs.safetensors"),
        ("unreadable", "gone.safetensors"),
        ("unreadable", "loop.safetensors"),
    }
    assert [name for name, part in ckpt.shards.items() if part.readable] == ["model.safetensors"]


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    put(tmp_path, {"model/config.json": b"{}", "model-private/x.safetensors": SHARD})
    (tmp_path / "model" / "x.safetensors").symlink_to("../model-private/x.safetensors")
    assert LocalSource(tmp_path / "model").entries()["x.safetensors"].state == "link-out"


def test_a_hub_cache_snapshot_may_link_into_its_blobs(tmp_path: Path) -> None:
    repo = put(tmp_path / "models--a--b", {"blobs/1f": SHARD, "blobs/2a": b"{}", "refs/main": b"abc"})
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/1f")
    (snapshot / "config.json").symlink_to("../../blobs/2a")
    (snapshot / "ref.json").symlink_to("../../refs/main")
    ckpt = load(open_source(snapshot))
    assert ckpt.shards["model.safetensors"].readable
    assert "config.json" in ckpt.docs
    assert ckpt.entries["ref.json"].state == "link-out"
    through_link = tmp_path / "link"
    through_link.symlink_to(snapshot)
    assert load(open_source(through_link)).shards["model.safetensors"].readable


def test_a_fifo_is_no_file_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    (tmp_path / "config.json").mkdir()
    ckpt = load(LocalSource(tmp_path))
    assert [(d.code, d.at.file) for d in ckpt.defects] == [("not-a-file", "model.safetensors")]
    alone = load(open_source(tmp_path / "model.safetensors"))
    assert [d.code for d in alone.defects] == ["not-a-file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files(tmp_path: Path) -> None:
    put(tmp_path, {"model.safetensors": SHARD, "config.json": b"{}"})
    for child in tmp_path.iterdir():
        child.chmod(0)
    assert {d.code for d in load(LocalSource(tmp_path)).defects} == {"unreadable"}


def test_one_file(tmp_path: Path) -> None:
    path = put(tmp_path, {"x.safetensors": SHARD, "config.json": b"{}"}) / "x.safetensors"
    source = open_source(path)
    assert source.label == str(path)
    assert source.entries() == {"x.safetensors": Stat(len(SHARD))}
    ckpt = load(source)
    assert (ckpt.defects, list(ckpt.docs), list(ckpt.shards)) == ([], [], ["x.safetensors"])
    assert source.read_many([Span("config.json", 0, 2)])[0].__class__ is Unavailable


def test_one_file_that_is_a_pointer_or_a_link(tmp_path: Path) -> None:
    put(tmp_path, {"p.safetensors": POINTER, "store/blob": SHARD})
    (tmp_path / "l.safetensors").symlink_to("store/blob")
    (tmp_path / "gone.safetensors").symlink_to("nowhere")
    assert [d.code for d in load(open_source(tmp_path / "p.safetensors")).defects] == ["lfs-pointer"]
    assert load(open_source(tmp_path / "l.safetensors")).defects == []
    assert [d.code for d in load(open_source(tmp_path / "gone.safetensors")).defects] == ["unreadable"]


@pytest.mark.parametrize("name", ["nothing", "org/model", "x.gguf"])
def test_what_cannot_be_opened(tmp_path: Path, name: str) -> None:
    put(tmp_path, {"x.gguf": b"GGUF"})
    with pytest.raises(SourceError, match=name):
        open_source(tmp_path / name)


def test_checkpoints_below(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "a/config.json": b"",
            "a/sub/config.json": b"",
            "runs/b/adapter_config.json": b"",
            "runs/c/deep/model-00001-of-00002.safetensors": b"",
            "runs/d/pytorch_model.bin.index.json": b"",
            "runs/c/deep2/deeper/config.json": b"",
            "docs/readme.md": b"",
            ".git/config.json": b"",
        },
    )
    found = [str(path.relative_to(tmp_path)) for path in checkpoints_below(tmp_path)]
    assert found == ["a", "runs/b", "runs/c/deep", "runs/d"]
    assert checkpoints_below(tmp_path / "a") == [tmp_path / "a"]
    assert checkpoints_below(tmp_path / "docs") == []
    assert checkpoints_below(tmp_path / "nothing") == [tmp_path / "nothing"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../other/model.safetensors", "parent"),
        ("sub/../../x.safetensors", "parent"),
        ("/etc/passwd", "absolute"),
        ("C:/x.safetensors", "absolute"),
        ("sub\\x.safetensors", "backslash"),
        ("out.safetensors", "link"),
    ],
)
def test_index_paths_that_lead_out_are_never_opened(tmp_path: Path, path: str, why: str) -> None:
    root = put(tmp_path / "m", {INDEX: index("model.safetensors", path), "model.safetensors": SHARD})
    put(tmp_path, {"other/model.safetensors": SHARD, "x.safetensors": SHARD})
    (root / "out.safetensors").symlink_to("../x.safetensors")
    ckpt = load(LocalSource(root))
    found = [d for d in ckpt.defects if d.code == "index-path"]
    assert [(d.facts["path"], d.facts["why"], d.at.pointer) for d in found] == [
        (path, why, "/weight_map/t1.weight")
    ]
    assert [name for name, part in ckpt.shards.items() if part.readable] == ["model.safetensors"]


def test_shards_below_the_root_only_when_an_index_names_them(tmp_path: Path) -> None:
    put(tmp_path, {INDEX: index("s/a.safetensors"), "s/a.safetensors": SHARD, "s/b.safetensors": SHARD})
    ckpt = load(LocalSource(tmp_path))
    assert list(ckpt.shards) == ["s/a.safetensors"]
    assert ckpt.defects == []


@pytest.mark.parametrize(
    ("content", "code", "pointer"),
    [
        ({}, "index-no-weight-map", ""),
        ({"weight_map": None}, "index-weight-map-type", "/weight_map"),
        ({"weight_map": ["a"]}, "index-weight-map-type", "/weight_map"),
        ({"weight_map": {}}, "index-empty", "/weight_map"),
        ({"weight_map": {"a": "x", "b/c": 3}}, "index-entry-type", "/weight_map/b~1c"),
    ],
)
def test_index_defects(content: object, code: str, pointer: str) -> None:
    ckpt = load(MemorySource("m", {INDEX: json.dumps(content).encode()}))
    assert [(d.code, d.at.pointer) for d in ckpt.defects] == [(code, pointer)]


@pytest.mark.parametrize(
    ("size", "expected"), [(12, 12), (12.0, 12), (12.5, None), ("12", None), (True, None)]
)
def test_total_size(size: object, expected: int | None) -> None:
    content = {"metadata": {"total_size": size}, "weight_map": {"a": "m.safetensors"}}
    ckpt = load(MemorySource("m", {INDEX: json.dumps(content).encode()}))
    assert ckpt.index is not None
    assert ckpt.index.total_size == expected
    assert ckpt.index.files == ("m.safetensors",)


def test_headers_longer_than_the_first_guess(tmp_path: Path) -> None:
    wide = shard({f"layers.{i}.weight": ("F32", [2]) for i in range(3000)})
    source = LocalSource(put(tmp_path, {"a.safetensors": wide, "b.safetensors": SHARD}))
    ckpt = load(source)
    assert ckpt.defects == []
    assert len(ckpt.shards["a.safetensors"].tensors) == 3000
    assert ckpt.bytes_read.headers < len(wide) + len(SHARD)


def test_an_index_foretells_the_length_of_headers(tmp_path: Path) -> None:
    names = [f"model.layers.{i}.self_attn.q_proj.weight" for i in range(3000)]
    wide = shard({name: ("F32", [2]) for name in names})
    weight_map = dict.fromkeys(names, "a.safetensors")
    files = {INDEX: json.dumps({"weight_map": weight_map}).encode(), "a.safetensors": wide}
    ckpt = load(LocalSource(put(tmp_path, files)))
    assert ckpt.defects == []
    assert ckpt.bytes_read.headers == len(wide)  # one read, not a guess and the rest


def test_an_absurd_length_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:  # a sparse file of 4 GB that claims a 3 GB header
        file.write((3 * 10**9).to_bytes(8, "little") + b'{"a":')
        file.truncate(4 * 10**9)
    ckpt = load(LocalSource(tmp_path))
    assert [d.code for d in ckpt.defects] == ["header-too-large"]
    assert ckpt.bytes_read.headers <= 65_536


def test_only_known_json_files_are_read(tmp_path: Path) -> None:
    put(tmp_path, {"config.json": b"{}", "tokenizer.json": b"{", "notes.json": b"{", "sub/config.json": b"{"})
    put(tmp_path, {"x.safetensors.index.json": b'{"weight_map": {"a": "b"}}', "params.json": b"{}"})
    ckpt = load(LocalSource(tmp_path))
    assert sorted(ckpt.docs) == ["config.json", "params.json", "x.safetensors.index.json"]
    assert ckpt.defects == []


def test_large_tokenizer_configs_are_left_unread(tmp_path: Path) -> None:
    put(tmp_path, {"tokenizer_config.json": b'{"a": "' + b"x" * 8_000_000 + b'"}'})
    ckpt = load(LocalSource(tmp_path))
    assert [d.code for d in ckpt.defects] == ["json-too-large"]
    assert ckpt.bytes_read.json == 0


def test_progress_and_the_collector(tmp_path: Path) -> None:
    import gc

    put(tmp_path, {f"{i}.safetensors": SHARD for i in range(3)})
    seen: list[tuple[int, int]] = []
    load(LocalSource(tmp_path), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert gc.isenabled()
