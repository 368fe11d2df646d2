"""Headers → signatures: modules joined over shards, states told apart, nothing invented for unread files."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from ckptdoctor.checkpoint import quant_state
from ckptdoctor.checkpoint.names import Templates, join, split
from ckptdoctor.checkpoint.nouns import Checkpoint, QuantState, View
from ckptdoctor.formats.declared import declarations
from ckptdoctor.schemes.base import Leaf
from ckptdoctor.sources.base import Stat
from ckptdoctor.sources.local import LocalSource
from ckptdoctor.sources.memory import MemorySource
from tests.support.shipped import load

from ..support.corpus_source import CorpusSource, rows, sound_rows
from ..support.headers import shard

SOUND = Path(__file__).parents[2] / "fixtures" / "sound"
INDEX = "model.safetensors.index.json"
STATE = "weight.quant_state.bitsandbytes__nf4"


def view_of(ckpt: Checkpoint) -> View:
    return ckpt.view(tuple(ckpt.shards))


def checkpoint(files: dict[str, bytes], stats: dict[str, Stat] | None = None, **options: bool) -> Checkpoint:
    return load(MemorySource("model", files, stats), **options)


@pytest.mark.parametrize(
    ("tensor", "module", "leaf"),
    [
        ("model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj", "weight"),
        ("a.q_proj.weight.absmax", "a.q_proj", "weight.absmax"),
        (f"a.q_proj.{STATE}", "a.q_proj", STATE),
        ("a.q_proj.weight._data._data", "a.q_proj", "weight._data._data"),
        ("a.q_proj.SCB", "a.q_proj", "SCB"),
        ("a.q_proj.qweight", "a.q_proj", "qweight"),
        ("mlp.experts.gate_up_proj_blocks", "mlp.experts", "gate_up_proj_blocks"),
        ("base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_A", "weight"),
        ("a.myweight.b", "a.myweight", "b"),
        ("a.weight.b.weight", "a", "weight.b.weight"),
        ("weight.absmax", "", "weight.absmax"),
        ("weight", "", "weight"),
        ("", "", ""),
    ],
)
def test_split(tensor: str, module: str, leaf: str) -> None:
    assert split(tensor) == (module, leaf)
    assert join(module, leaf) == tensor


@pytest.mark.parametrize(
    ("module", "template"),
    [
        ("model.layers.12.mlp.experts.3.w1", "model.layers.*.mlp.experts.*.w1"),
        ("h.0", "h.*"),
        ("0", "*"),
        ("conv2d.x4", "conv2d.x4"),
        ("layers.٣.x", "layers.٣.x"),
        ("", ""),
    ],
)
def test_template(module: str, template: str) -> None:
    assert Templates().of(module) == template


@pytest.mark.parametrize("fixture", sorted(path.name for path in SOUND.iterdir()))
def test_sound_checkpoints_have_no_defect(fixture: str) -> None:
    ckpt = load(LocalSource(SOUND / fixture))
    assert ckpt.defects == []
    view = view_of(ckpt)
    held = [join(module, leaf.name) for s in view.signatures for module in s.modules for leaf in s.leaves]
    assert sorted(held) == sorted(name for part in ckpt.shards.values() for name in part.tensors)
    assert all(signature.stored.scheme for signature in view.signatures)


@pytest.mark.parametrize(
    ("fixture", "schemes"),
    [
        ("llama-bf16", {"bf16"}),
        ("llama-fp16", {"f16"}),
        ("llama-nf4", {"bf16", "bnb-nf4"}),
        ("llama-nf4-dq", {"bf16", "bnb-nf4"}),
        ("llama-nf4-sharded", {"bf16", "bnb-nf4"}),
        ("llama-fp4", {"bf16", "bnb-fp4"}),
        ("llama-int8", {"bf16", "bnb-int8"}),
        ("llama-lora", {"f32"}),
    ],
)
def test_stored_schemes(fixture: str, schemes: set[str]) -> None:
    assert {s.stored.scheme for s in view_of(load(LocalSource(SOUND / fixture))).signatures} == schemes


def test_a_template_whose_offsets_differ_in_length_is_one_signature() -> None:
    view = view_of(load(LocalSource(SOUND / "llama-nf4-dq")))
    (signature,) = view.templates["model.layers.*.self_attn.k_proj"]
    assert signature.count == 2
    assert signature.stored[:5] == ("bnb-nf4", 4, 64, 128, 64)
    assert signature.state == QuantState("nf4", 64, "bfloat16", (64, 128), 256, "float32", True)


def test_shards_do_not_matter() -> None:
    def folded(name: str) -> set[tuple[object, ...]]:
        view = view_of(load(LocalSource(SOUND / name)))
        return {(s.template, s.leaves, s.state, s.stored, frozenset(s.modules)) for s in view.signatures}

    assert folded("llama-bf16-sharded") == folded("llama-bf16")
    assert folded("llama-nf4-sharded") == folded("llama-nf4-dq")


def test_the_later_file_wins() -> None:
    files = {
        "a.safetensors": shard({"x.weight": ("F32", [2, 2]), "x.bias": ("F32", [2])}),
        "b.safetensors": shard({"x.weight": ("BF16", [4, 4])}),
    }
    ckpt = checkpoint(files)
    forward, backward = (
        ckpt.view(("a.safetensors", "b.safetensors")),
        ckpt.view(("b.safetensors", "a.safetensors")),
    )
    assert forward.signatures[0].leaves == (Leaf("bias", "F32", (2,)), Leaf("weight", "BF16", (4, 4)))
    assert backward.signatures[0].leaf("weight") == Leaf("weight", "F32", (2, 2))
    assert forward.owner["x.weight"] == "b.safetensors"
    assert backward.owner["x.weight"] == "a.safetensors"
    assert dict(forward.owner) == {"x.weight": "b.safetensors", "x.bias": "a.safetensors"}
    assert len(forward.owner) == 2
    assert forward.owner.get("nothing") is None


def test_modules_of_very_many_tensors() -> None:
    wide = {f"{module}.t{i}": ("U8", [i % 3]) for i in range(5000) for module in ("a.0", "a.1")}
    ckpt = checkpoint({"a.safetensors": shard(wide), "b.safetensors": shard({"a.1.t7": ("F32", [9])})})
    even, odd = view_of(ckpt).signatures
    assert (even.modules, odd.modules, len(even.leaves), len(odd.leaves)) == (["a.0"], ["a.1"], 5000, 5000)
    assert odd.leaf("t7") == Leaf("t7", "F32", (9,))
    (both,) = ckpt.view(("a.safetensors",)).signatures
    assert both.modules == ["a.0", "a.1"]


def test_names_from_the_index_where_headers_cannot_be_had() -> None:
    names = [
        "a.0.weight",
        "a.0.SCB",
        "a.1.weight",
        "a.1.SCB",
        "b.qweight",
        "b.scales",
        "b.qzeros",
        "b.g_idx",
        "c.weight",
    ]
    weight_map = dict.fromkeys(names, "m-1.safetensors")
    files = {INDEX: json.dumps({"weight_map": weight_map}).encode()}
    ckpt = checkpoint(files, {"m-1.safetensors": Stat(10**9, "absent")}, metadata_only=True)
    assert ckpt.defects == []
    assert not ckpt.shards["m-1.safetensors"].readable
    assert ckpt.shards["m-1.safetensors"].size == 10**9
    found = {s.template: (s.stored.scheme, s.stored.quantized, s.count) for s in view_of(ckpt).signatures}
    assert found == {"a.*": ("bnb-int8", True, 2), "b": ("gptq", True, 1), "c": ("", False, 1)}
    assert view_of(ckpt).signatures[0].leaves[1] == Leaf("weight", "", ())
    assert view_of(ckpt).owner["c.weight"] == "m-1.safetensors"


def test_metadata_only_takes_named_files_as_read() -> None:
    weight_map = {"a.weight": "m-1.safetensors", "b.weight": "../m-2.safetensors"}
    files = {INDEX: json.dumps({"weight_map": weight_map}).encode()}
    assert list(checkpoint(files).shards) == []
    ckpt = checkpoint(files, metadata_only=True)
    assert list(ckpt.shards) == ["m-1.safetensors"]
    assert [s.template for s in view_of(ckpt).signatures] == ["a"]


def state_shard(blobs: dict[str, bytes]) -> bytes:
    tensors = {f"{module}.{STATE}": ("U8", [len(blob)]) for module, blob in blobs.items()}
    return shard(tensors, {f"{module}.{STATE}": blob for module, blob in blobs.items()})


@pytest.mark.parametrize(
    ("blob", "state"),
    [
        (b"{}", QuantState()),
        (
            b'{"quant_type": "nf4", "blocksize": "64", "shape": [4, 8], "x": 1}',
            QuantState("nf4", "64", None, (4, 8), extra=("x",)),
        ),
        (b"{", QuantState(defect="not JSON")),
        (b"\xff\xfe", QuantState(defect="not UTF-8")),
        (b"[1]", QuantState(defect="not an object")),
        (b'{"shape": [4, -8]}', QuantState(defect="shape is not a list of sizes")),
        (b'{"shape": [4, true]}', QuantState(defect="shape is not a list of sizes")),
        (b'{"blocksize": [64]}', QuantState(defect="a value is not a scalar")),
        (b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", QuantState(defect="unreadable")),
    ],
)
def test_quantisation_states(blob: bytes, state: QuantState) -> None:
    ckpt = checkpoint({"model.safetensors": state_shard({"m": blob})})
    assert [s.state for s in view_of(ckpt).signatures] == [state]
    assert ckpt.bytes_read.micro == (len(blob) if state.defect != "unreadable" else 0)


def test_modules_with_another_state_are_another_signature() -> None:
    blobs = {
        "a.0": b'{"blocksize": 64, "nested_offset": 1}',
        "a.1": b'{"blocksize": 64, "nested_offset": 22}',
    }
    blobs["a.2"] = b'{"blocksize": 128, "nested_offset": 1}'
    view = view_of(checkpoint({"model.safetensors": state_shard(blobs)}))
    assert [s.modules for s in view.signatures] == [["a.0", "a.1"], ["a.2"]]
    assert not view.sampled


def test_beyond_the_budget_one_state_speaks_for_its_like(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = {f"a.{i}": b'{"blocksize": 64, "nested_offset": %d}' % i for i in range(9)} | {
        "b": b'{"blocksize": 32}'
    }
    monkeypatch.setattr(quant_state, "MAX_TOTAL", 100)
    ckpt = checkpoint({"model.safetensors": state_shard(blobs)})
    view = view_of(ckpt)
    assert view.sampled
    assert {s.template: s.state and s.state.blocksize for s in view.signatures} == {"a.*": 64, "b": 32}
    assert ckpt.bytes_read.micro <= 100


def test_places() -> None:
    view = view_of(load(LocalSource(SOUND / "llama-nf4-sharded")))
    (signature,) = view.templates["model.layers.*.mlp.down_proj"]
    for place in view.locate(signature, "weight.absmax"):
        assert place.tensor is not None
        assert view.owner[place.tensor] == place.file
    assert all(place.file for place in view.locate(signature, "weight.gone"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"config.json": {"quantization_config": {"quant_method": "BitsAndBytes"}}},
            [("config.json", "/quantization_config", "bitsandbytes")],
        ),
        (
            {"config.json": {"text_config": {"quantization_config": {"quant_method": "compressed_tensors"}}}},
            [("config.json", "/text_config/quantization_config", "compressed-tensors")],
        ),
        (
            {"config.json": {"compression_config": {"quant_method": "sparseml"}}},
            [("config.json", "/compression_config", "sparseml")],
        ),
        ({"config.json": {"quantization": {"bits": 4}}}, [("config.json", "/quantization", "")]),
        ({"config.json": {"quantization_config": {}}}, [("config.json", "/quantization_config", "")]),
        ({"config.json": {"quantization_config": None}}, []),
        (
            {"config.json": {"quantization_config": {"quant_method": 7}}},
            [("config.json", "/quantization_config", "")],
        ),
        (
            {"hf_quant_config.json": {"quantization": {"quant_algo": "FP8"}}},
            [("hf_quant_config.json", "/quantization", "modelopt")],
        ),
        (
            {"quantize_config.json": {"bits": 4}, "quant_config.json": {"w_bit": 4}},
            [("quant_config.json", "", ""), ("quantize_config.json", "", "")],
        ),
        ({"quantize_config.json": {}}, []),
    ],
)
def test_declarations(files: dict[str, object], expected: list[tuple[str, str, str]]) -> None:
    ckpt = checkpoint({name: json.dumps(content).encode() for name, content in files.items()})
    assert [(d.file, d.pointer, d.method) for d in declarations(ckpt)] == expected


@pytest.mark.parametrize("fixture", ["llama-nf4-dq", "llama-int8", "llama-nf4-sharded"])
def test_damage_anywhere_never_raises(fixture: str) -> None:
    picker = random.Random(fixture)
    sound = {path.name: path.read_bytes() for path in (SOUND / fixture).iterdir()}
    for _ in range(150):
        name = picker.choice([*sound])
        raw = bytearray(sound[name])
        reach = len(raw) if name.endswith(".json") else 8 + int.from_bytes(raw[:8], "little")
        for _ in range(picker.randint(1, 4)):
            raw[picker.randrange(reach)] = picker.choice(b'{}[]",:0-9\\\x00\xff ')
        if picker.random() < 0.3:
            del raw[picker.randrange(len(raw)) :]
        ckpt = checkpoint({**sound, name: bytes(raw)})
        for signature in view_of(ckpt).signatures:
            assert signature.modules
            assert view_of(ckpt).locate(signature)


needs_corpus = pytest.mark.skipif(not os.environ.get("CKPTDOCTOR_CORPUS"), reason="no corpus here")

KNOWN = {
    "ES7__Introduction-to-LLMs": {"json-invalid", "wrong-magic"},  # HTML pages saved as JSON and as weights
    "Mauricio-100__server-ai": {"wrong-magic"},  # an HTML page saved as weights
    "ETsETs777__LLS_M1__models": {"json-invalid"},  # generation_config.json of NUL bytes
    "bq-xiao__chatglm2-6b-int4__model": {"json-lfs-pointer"},
}


@needs_corpus
def test_real_checkpoints_have_only_known_defects() -> None:
    seen = {}
    for row in sound_rows():
        found = {defect.code for defect in load(CorpusSource(row.path), metadata_only=True).defects}
        if found:
            seen[row.slug] = found
    assert seen == KNOWN


@needs_corpus
def test_real_names_are_all_accounted_for() -> None:
    for row in rows():
        ckpt = load(CorpusSource(row.path), metadata_only=True)
        for index in ckpt.indexes.values():
            view = ckpt.view(index.files)
            held = [join(m, leaf.name) for s in view.signatures for m in s.modules for leaf in s.leaves]
            assert sorted(held) == sorted(index.weight_map), row.slug
