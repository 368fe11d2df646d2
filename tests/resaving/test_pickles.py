"""Pickles become safetensors with the values that torch reads, and nothing in a pickle is ever run."""

from __future__ import annotations

import collections
import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from ckptdoctor.resaving import opcodes, torchfile
from ckptdoctor.resaving.nouns import ResaveError
from ckptdoctor.resaving.pickled import answered
from tests.conftest import ROOT

from .made import resaved, tensors

WRITTEN = ROOT / "fixtures" / "pickles"


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_the_values_are_those_that_torch_reads(form: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(WRITTEN / f"{form}.bin", tmp_path / "model" / "pytorch_model.bin")
    (tmp_path / "model" / "config.json").write_text("{}")
    resaved(tmp_path / "model", tmp_path / "out")
    expected = json.loads((WRITTEN / f"{form}.json").read_bytes())
    found = {
        name: [dtype, list(shape), digest]
        for name, (dtype, shape, digest) in tensors(tmp_path / "out").items()
    }
    assert found == expected
    assert len(found) > 15
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "config.json"}


class Raw:
    """Bytes of a pickle as they are."""

    def __init__(self, *parts: bytes) -> None:
        self.data = b"\x80\x02" + b"".join(parts) + b"."


def tensor(
    key: bytes = b"0",
    elements: int = 4,
    offset: int = 0,
    shape: bytes = b"K\x04\x85",
    stride: bytes = b"K\x01\x85",
) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX" + len(key).to_bytes(4, "little") + key
    storage += b"X\x03\x00\x00\x00cpuJ" + elements.to_bytes(4, "little") + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + offset.to_bytes(4, "little")
        + shape + stride + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def named(*values: bytes) -> bytes:
    items = b"".join(b"X\x01\x00\x00\x00" + bytes([97 + i]) + value for i, value in enumerate(values))
    return b"}(" + items + b"u"


def archive(path: Path, text: bytes, data: bytes = bytes(16), *, compressed: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("archive/data.pkl", text)
        file.writestr("archive/data/0", data)
    return path


def read(path: Path) -> tuple[list[torchfile.Found], list[str]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return torchfile.tensors(descriptor)
    finally:
        os.close(descriptor)


def test_the_pickle_made_here_is_one_that_is_read(tmp_path: Path) -> None:
    found, _ = read(archive(tmp_path / "a.bin", Raw(named(tensor())).data))
    assert [(name, dtype, shape) for name, dtype, shape, _ in found] == [("a", "F32", (4,))]


class Runs:
    """What every warning about pickles shows."""

    def __init__(self, what: object, *args: object) -> None:
        self.what, self.args = what, args

    def __reduce__(self) -> object:
        return self.what, self.args


HOSTILE = {
    "system": (Runs(os.system, "touch MARK"), r"asks for (posix|nt)\.system"),
    "eval": (Runs(eval, "1"), r"asks for (builtins|__builtin__)\.eval"),
    "getattr": (Runs(getattr, "a", "upper"), r"asks for (builtins|__builtin__)\.getattr"),
    "import": (Runs(__import__, "os"), r"asks for (builtins|__builtin__)\.__import__"),
    "counter": (collections.Counter("a"), r"asks for collections\.Counter"),
    "path": (Path("x"), "asks for pathlib"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", range(6))
def test_what_is_no_tensor_is_named_and_not_run(
    name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value, message = HOSTILE[name]
    path = archive(tmp_path / "a.bin", pickle.dumps({"a": value}, protocol=protocol))
    with pytest.raises(opcodes.Refused, match=message if protocol > 1 else "opcode|asks"):
        read(path)
    assert not (tmp_path / "MARK").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin"}


BROKEN = {
    "past its storage": named(tensor(elements=4, shape=b"K\x05\x85")),
    "offset past its storage": named(tensor(offset=1)),
    "storage larger than its bytes": named(tensor(elements=2**30, shape=b"J\x00\x00\x00\x40\x85")),
    "huge shape": named(tensor(shape=b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x85")),
    "negative shape": named(tensor(shape=b"J\xff\xff\xff\xff\x85")),
    "other rank of strides": named(tensor(stride=b"K\x01K\x01\x86")),
    "repeated without end": named(tensor(shape=b"J\x00\x00\x10\x00\x85", stride=b"K\x00\x85")),
    "no storage of that name": named(tensor(key=b"1")),
    "no dictionary": tensor(),
    "a collection": named(b"](K\x01e"),
    "memo that is empty": b"h\x07",
    "end in the middle": b"X\xff\xff\xff\x7fabc",
    "no mark": b"t",
    "empty stack": b"R",
    "instance": b"(S'a'\nios\nsystem\n",
    "built": named(tensor()) + b"}b" + b"}b" + b"0}b",
    "extension": b"\x82\x01",
    "buffers": b"\x97",
    "frozen set": b"(\x91",
    "new object": b"ccollections\nOrderedDict\n)\x81",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(opcodes.Refused):
        read(archive(tmp_path / "a.bin", Raw(BROKEN[name]).data))


def test_a_view_that_repeats_values_does_not_grow_without_end(tmp_path: Path) -> None:
    wide = tensor(shape=b"M\xe8\x03K\x04\x86", stride=b"K\x00K\x01\x86")
    with pytest.raises(opcodes.Refused, match="more than 4 times the file"):
        read(archive(tmp_path / "a.bin", Raw(named(wide)).data))


def test_a_view_in_many_pieces_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = tensor(elements=12, shape=b"K\x04K\x03\x86", stride=b"K\x01K\x04\x86")
    path = archive(tmp_path / "a.bin", Raw(named(turned)).data, bytes(48))
    monkeypatch.setattr(torchfile, "MAX_PIECES", 12)
    [(_, _, _, ranges)] = read(path)[0]
    assert len(ranges) == 12
    monkeypatch.setattr(torchfile, "MAX_PIECES", 11)
    with pytest.raises(opcodes.Refused, match="few values lie apart"):
        read(path)


def test_a_bomb_of_references_costs_what_its_text_costs(tmp_path: Path) -> None:
    bomb = b"]q\x00" + b"".join(b"](" + b"h\x00" * 200 + b"eq\x00" for _ in range(400))
    with pytest.raises(opcodes.Refused):
        read(archive(tmp_path / "a.bin", Raw(b"}(X\x01\x00\x00\x00a", bomb, b"u").data))


def test_deep_nesting_is_no_recursion(tmp_path: Path) -> None:
    deep = b"]" * 200_000 + b"a" * 199_999
    with pytest.raises(opcodes.Refused):
        read(archive(tmp_path / "a.bin", Raw(b"}(X\x01\x00\x00\x00a", deep, b"u").data))


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    good = Raw(named(tensor())).data
    with pytest.raises(opcodes.Refused, match="compressed"):
        read(archive(tmp_path / "a.bin", good, compressed=True))
    whole = archive(tmp_path / "b.bin", good).read_bytes()
    for size in (3, 20, 100, len(whole) - 5):
        (tmp_path / "c.bin").write_bytes(whole[:size])
        with pytest.raises(opcodes.Refused):
            read(tmp_path / "c.bin")
    with zipfile.ZipFile(tmp_path / "d.bin", "w") as file:
        file.writestr("archive/constants.pkl", b"")
        file.writestr("archive/data.pkl", good)
    with pytest.raises(opcodes.Refused, match="TorchScript"):
        read(tmp_path / "d.bin")


def test_every_byte_changed_ends_in_tensors_or_in_a_refusal(tmp_path: Path) -> None:
    whole = (WRITTEN / "zip.bin").read_bytes()
    at = whole.index(b"\x80\x02}")
    for place in range(at, at + 900):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "a.bin").write_bytes(changed)
        try:
            read(tmp_path / "a.bin")
        except opcodes.Refused:
            continue


UNBELIEVED = {
    "past the end": ["a", "U8", [4], [[13, 4]]],
    "before the start": ["a", "U8", [4], [[-1, 4]]],
    "of negative length": ["a", "U8", [4], [[0, 8], [16, -4]]],
    "less than its shape": ["a", "U8", [5], [[0, 4]]],
    "more than its shape": ["a", "U8", [3], [[0, 4]]],
    "no dtype": ["a", "Q9", [4], [[0, 4]]],
    "a name without end": ["a" * 1001, "U8", [4], [[0, 4]]],
    "no list": 7,
    "another form": ["a", "U8", None, [[0]]],
}


@pytest.mark.parametrize("name", UNBELIEVED)
def test_the_process_that_reads_is_not_believed(name: str) -> None:
    assert [tensor.size for tensor in answered("f", {"tensors": [["a", "U8", [4], [[12, 4]]]]}, 16)] == [4]
    with pytest.raises(ResaveError):
        list(answered("f", {"tensors": [UNBELIEVED[name]]}, 16))


@pytest.mark.slow
def test_the_reader_has_limits_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    archive(tmp_path / "model" / "pytorch_model.bin", Raw(b"}" * 60_000_000).data)
    with pytest.raises(ResaveError, match=r"takes more than it may|could not be read within"):
        resaved(tmp_path / "model", tmp_path / "out")


def test_a_program_is_refused_by_the_file_and_the_name_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    archive(tmp_path / "model" / "pytorch_model.bin", pickle.dumps(Runs(os.system, f"touch {tmp_path}/MARK")))
    with pytest.raises(ResaveError, match=r"pytorch_model\.bin: it asks for posix\.system"):
        resaved(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "MARK").exists()
    assert not (tmp_path / "out").exists()


def test_no_unpickler_is_imported() -> None:
    import subprocess

    code = (
        "import sys; from ckptdoctor.resaving import torchfile; assert 'pickle' not in sys.modules, 'pickle'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_pickle_under_the_name_of_safetensors(tmp_path: Path) -> None:
    for form in ("zip", "legacy"):
        model = tmp_path / form
        model.mkdir()
        shutil.copy(WRITTEN / f"{form}.bin", model / "model.safetensors")
        resaved(model, tmp_path / f"{form}-out")
        assert len(tensors(tmp_path / f"{form}-out")) > 15
