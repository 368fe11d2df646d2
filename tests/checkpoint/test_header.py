"""One safetensors header: sound ones pass, every kind of damage has one name, both decoders agree."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.checkpoint.dtypes import BITS
from ckptdoctor.checkpoint.header import parse
from ckptdoctor.checkpoint.nouns import Defect, Shard

from ..support.headers import entry, framed

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "sound").glob("*/*.safetensors"))
PT = {"format": "pt"}
F32 = entry("F32", [2], 0, 8)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4976698672\n"


def header(tensors: dict[str, object], data: int, metadata: object = PT) -> bytes:
    return framed(json.dumps({"__metadata__": metadata, **tensors}).encode(), data)


def both(raw: bytes, size: int | None = None) -> tuple[Shard, list[Defect]]:
    """Parse with either decoder and insist that they agree."""
    length = len(raw) if size is None else size
    shard, defects = parse(raw, length, "m.safetensors")
    other, same = parse(raw, length, "m.safetensors", fast=True)
    assert defects == same
    assert shard.readable == other.readable
    assert shard.metadata == other.metadata
    assert {n: (t.dtype, t.shape, t.data_offsets) for n, t in shard.tensors.items()} == {
        n: (t.dtype, t.shape, t.data_offsets) for n, t in other.tensors.items()
    }
    return shard, defects


def refused(raw: bytes) -> str | None:
    """Return why the reference reader refuses a file, None when it reads it."""
    try:
        safetensors.deserialize(raw)
    except safetensors.SafetensorError as error:
        return str(error)
    return None


def codes(raw: bytes, size: int | None = None) -> list[str]:
    return [defect.code for defect in both(raw, size)[1]]


def only(raw: bytes, size: int | None = None) -> tuple[str, dict[str, object]]:
    defects = both(raw, size)[1]
    assert len(defects) == 1, defects
    return defects[0].code, dict(defects[0].facts)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_sound_files_have_no_defect(path: Path) -> None:
    raw = path.read_bytes()
    shard, defects = both(raw)
    assert defects == []
    assert set(shard.tensors) == {name for name, _ in safetensors.deserialize(raw)}


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_dtype_has_its_width(dtype: str) -> None:
    size = 8 * BITS[dtype] // 8
    raw = header({"a": entry(dtype, [2, 4], 0, size)}, size)
    assert codes(raw) == []
    complaint = refused(raw)
    assert complaint is None or "unknown variant" in complaint  # by a reader that is older than the dtype


@pytest.mark.parametrize(
    ("raw", "size", "code", "facts"),
    [
        (b"", 0, "empty-file", {}),
        (b"1234", 4, "header-too-short", {"got": 4}),
        (POINTER, len(POINTER), "lfs-pointer", {"size": 4976698672, "sha256": "a" * 64}),
        (b"PK\x03\x04" + b"\x14\0" * 20, 44, "wrong-magic", {"kind": "zip"}),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00layer", 40, "wrong-magic", {"kind": "pickle"}),
        (b"GGUF\x03\0\0\0" + bytes(32), 40, "wrong-magic", {"kind": "gguf"}),
        (b"<!DOCTYPE html><html>Not found", 30, "wrong-magic", {"kind": "html"}),
        (b'{"model_type": "llama"}', 23, "wrong-magic", {"kind": "json"}),
        (b"../../blobs/1f2e3d4c5b6a79", 26, "wrong-magic", {"kind": "symlink-text"}),
        (bytes(64), 64, "wrong-magic", {"kind": "nul"}),
        (b"version https://git-lfs" + b"x" * 2000, 2023, "wrong-magic", {"kind": "git-lfs"}),
        (b"this is a note, not a model", 27, "wrong-magic", {"kind": "unknown"}),
        (b"\xff" * 8 + b"\x01\x02", 10, "header-length", {"stated": 2**64 - 1, "got": 10}),
        (framed(b"{}")[:9], 9, "header-length", {"stated": 2, "got": 9}),
        (struct.pack("<Q", 99_999_999) + b"{", 500, "header-length", {"stated": 99_999_999, "got": 500}),
        (
            struct.pack("<Q", 126_000_000) + b'{"a":',
            200_000_000,
            "header-too-large",
            {"stated": 126_000_000, "limit": 100_000_000},
        ),
        (framed(b"[{}]"), 12, "header-start", {"byte": "5b"}),
        (framed(b" " * 64 + b"{}"), 74, "header-start", {"byte": "20"}),
        (framed(b""), 8, "wrong-magic", {"kind": "nul"}),
        (framed(b'{"\xff\xfe": {}}'), 18, "header-not-utf8", {"offset": 10}),
    ],
)
def test_what_is_no_header(raw: bytes, size: int, code: str, facts: dict[str, object]) -> None:
    assert only(raw, size) == (code, facts)


@pytest.mark.parametrize("blanks", [b" ", b"\n\t  ", b"\r\n", b" " * 63])
def test_blanks_before_the_brace_are_read(blanks: bytes) -> None:
    raw = framed(
        blanks
        + b'{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    ) + bytes(4)
    shard, defects = both(raw)
    assert (refused(raw), list(shard.tensors), defects) == (None, ["a"], [])


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": ',
        b'{"a": {}} x',
        b'{"a": {},}',
        b'{"a": NaN}',
        b'{"a": {"x": Infinity}}',
        b'{"a\x01": {}}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"\\ud800": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}',
        b"{'a': 1}",
    ],
)
def test_not_json(text: bytes) -> None:
    assert only(framed(text))[0] == "header-not-json"


def test_deep_json() -> None:
    assert only(framed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))[0] == "deep-json"


@pytest.mark.parametrize("filler", [b"[],", b'{"":0},'])
def test_a_header_made_of_tiny_parts_is_refused_before_it_is_built(filler: bytes) -> None:
    assert only(framed(b'{"a":[' + filler * 4_000_001 + b"[]]}"))[0] == "beyond-limit"


def test_a_tensor_of_many_dimensions_is_not_handed_on() -> None:
    shard, defects = both(header({"a": entry("U8", [2**60] * 50_000, 0, 1), "b": entry("U8", [1], 1, 2)}, 2))
    assert [defect.code for defect in defects] == ["negative-or-huge"]
    assert list(shard.tensors) == ["b"]


@pytest.mark.parametrize(
    ("value", "field", "why"),
    [
        (1, "", "not an object"),
        (None, "", "not an object"),
        ([], "", "not an object"),
        ({}, "dtype", "missing"),
        ({"dtype": "F32", "shape": [2]}, "data_offsets", "missing"),
        ({"dtyp": "F32", "shape": [2], "data_offsets": [0, 8]}, "dtype", "missing"),
        ({"dtype": 32, "shape": [2], "data_offsets": [0, 8]}, "dtype", "not a string"),
        ({"dtype": None, "shape": [2], "data_offsets": [0, 8]}, "dtype", "not a string"),
        ({"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}, "shape", "not a list of integers"),
        ({"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}, "shape", "not a list of integers"),
        ({"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}, "shape", "not a list of integers"),
        ({"dtype": "F32", "shape": [None], "data_offsets": [0, 8]}, "shape", "not a list of integers"),
        ({"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]}, "shape", "not a list of integers"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0]}, "data_offsets", "not two integers"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 9]}, "data_offsets", "not two integers"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8.0]}, "data_offsets", "not two integers"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [False, 8]}, "data_offsets", "not two integers"),
        (
            {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
            "data_offsets",
            "the end is before the begin",
        ),
    ],
)
def test_malformed_tensor(value: object, field: str, why: str) -> None:
    sound = entry("U8", [4], 8, 12)
    assert only(header({"a": value, "b": sound}, 12)) == ("tensor-malformed", {"field": field, "why": why})


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (entry("F32", [-2], 0, 8), "shape"),
        (entry("F32", [-2, -1], 0, 8), "shape"),
        (entry("F32", [2**64], 0, 8), "shape"),
        (entry("F32", [2**40, 2**40, 0], 0, 8), "shape"),
        (entry("F32", [1] * 63 + [2, 1], 0, 8), "shape"),
        (entry("F32", [2], -8, 0), "data_offsets"),
        (entry("F32", [2], 0, 2**64), "data_offsets"),
        (entry("F32", [2], 2**64, 2**64 + 8), "data_offsets"),
    ],
)
def test_negative_or_huge(value: object, field: str) -> None:
    assert only(header({"a": value}, 8)) == ("negative-or-huge", {"field": field})


def test_unknown_dtypes_are_noted_once_and_make_no_noise() -> None:
    tensors = {"a": entry("F7_X", [3], 0, 3), "b": entry("F7_X", [5], 3, 10), "c": entry("U8", [2], 10, 12)}
    assert only(header(tensors, 12)) == ("unknown-dtype", {"dtype": "F7_X"})


def test_size_mismatch_is_one_defect_though_it_leaves_a_hole() -> None:
    tensors = {"a": entry("F32", [2, 2], 0, 12), "b": entry("U8", [4], 16, 20)}
    facts = {"dtype": "F32", "shape": (2, 2), "expected": 16, "got": 12}
    assert only(header(tensors, 20)) == ("size-mismatch", facts)
    last = {"a": entry("U8", [4], 0, 4), "b": entry("F32", [4], 4, 12)}
    assert only(header(last, 20))[0] == "size-mismatch"


def test_sub_byte_tensors_are_sized_in_bits() -> None:
    assert codes(header({"a": entry("F4", [3, 2], 0, 3)}, 3)) == []
    assert codes(header({"a": entry("F6_E2M3", [4], 0, 3)}, 3)) == []
    facts = {"dtype": "F4", "shape": (3,), "expected": 1.5, "got": 2}
    assert only(header({"a": entry("F4", [3], 0, 2)}, 2)) == ("size-mismatch", facts)


def test_hole() -> None:
    tensors = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [2], 6, 8)}
    assert only(header(tensors, 8)) == ("hole", {"begin": 4, "end": 6, "first": "a", "second": "b"})
    assert only(header({"b": entry("U8", [2], 6, 8)}, 8))[0] == "hole"


def test_overlap() -> None:
    tensors = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}
    facts = {"first": "a", "second": "b", "bytes": 2, "begin": 2, "end": 4}
    assert only(header(tensors, 6)) == ("overlap", facts)


def test_order_of_the_header_does_not_matter() -> None:
    tensors = {"b": entry("U8", [4], 4, 8), "a": entry("U8", [4], 0, 4), "z": entry("U8", [0], 4, 4)}
    assert codes(header(tensors, 8)) == []


def test_truncated_and_trailing() -> None:
    raw = header({"a": F32}, 8)
    assert only(raw[:-3]) == ("truncated", {"expected": len(raw), "got": len(raw) - 3})
    assert only(raw + b"12") == ("trailing", {"expected": len(raw), "got": len(raw) + 2})


def test_zero_tensors() -> None:
    assert codes(header({}, 0)) == ["zero-tensors"]
    assert codes(header({}, 5)) == ["zero-tensors", "trailing"]


def test_duplicate_names() -> None:
    one, two = json.dumps(F32), json.dumps(entry("F32", [2], 8, 16))
    text = f'{{"__metadata__":{{"format":"pt"}},"a":{one},"a":{two}}}'.encode()
    assert only(framed(text, 16)) == ("duplicate-key", {"name": "a"})
    text = f'{{"__metadata__":{{"format":"pt"}},"a":{one},"\\u0061":{one}}}'.encode()
    assert only(framed(text, 8)) == ("duplicate-key", {"name": "a"})
    text = f'{{"__metadata__":{{"format":"pt"}},"__metadata__":{{"format":"pt"}},"a":{one}}}'.encode()
    assert only(framed(text, 8)) == ("duplicate-key", {"name": "__metadata__"})


def test_what_a_repeated_name_hides_is_no_hole() -> None:
    def bytes_of(*spans: tuple[int, int]) -> bytes:
        entries = [json.dumps(entry("U8", [end - begin], begin, end)) for begin, end in spans]
        members = [f'"{name}":{text}' for name, text in zip("aab", entries, strict=True)]
        return framed(f'{{"__metadata__":{{"format":"pt"}},{",".join(members)}}}'.encode(), 12)

    assert codes(bytes_of((0, 4), (4, 8), (8, 12))) == ["duplicate-key"]
    assert codes(bytes_of((8, 12), (0, 4), (4, 8))) == ["duplicate-key"]
    assert codes(bytes_of((0, 4), (0, 4), (6, 12))) == ["duplicate-key", "hole"]
    assert codes(bytes_of((0, 4), (0, 4), (4, 10))) == ["duplicate-key", "trailing"]


def test_a_duplicate_cannot_hide_behind_malformed_neighbours() -> None:
    one = json.dumps(F32)
    text = f'{{"a":{one},"a":{one},"b":{{}},"c":{{"dtype":1,"shape":[],"data_offsets":[8,8]}}}}'.encode()
    assert "duplicate-key" in codes(framed(text, 8))


def test_a_field_given_twice() -> None:
    text = (
        b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    )
    assert only(framed(text, 8)) == ("tensor-malformed", {"field": "dtype", "why": "given twice"})


@pytest.mark.parametrize(
    ("metadata", "code", "facts"),
    [
        (None, "metadata-null", {}),
        ([], "metadata-malformed", {"key": None, "why": "not an object"}),
        ({"format": 1}, "metadata-malformed", {"key": "format", "why": "the value is not a string"}),
        ({"format": "xyz"}, "metadata-format", {"format": "xyz"}),
        ({"dtype": "F32"}, "metadata-format", {"format": None}),
        ({"quote": 'a "b" \\'}, "metadata-format", {"format": None}),
    ],
)
def test_metadata(metadata: object, code: str, facts: dict[str, object]) -> None:
    assert only(header({"a": F32}, 8, metadata)) == (code, facts)


@pytest.mark.parametrize("known", ["pt", "tf", "flax", "mlx"])
def test_known_formats(known: str) -> None:
    assert codes(header({"a": F32}, 8, {"format": known})) == []


def test_metadata_missing_or_last() -> None:
    assert only(framed(json.dumps({"a": F32}).encode(), 8)) == ("metadata-missing", {})
    shard, defects = both(framed(json.dumps({"a": F32, "__metadata__": PT}).encode(), 8))
    assert (shard.metadata, defects) == (PT, [])


def test_escapes_and_control_characters_in_names() -> None:
    name = 'a\x1b[31m"\\/\n\U0001f600'
    shard, defects = both(header({name: F32}, 8))
    assert list(shard.tensors) == [name]
    assert defects == []


def test_defects_of_one_code_are_capped() -> None:
    tensors = {f"t{i}": entry("U8", [2], 3 * i, 3 * i + 2) for i in range(250)}
    defects = both(header(tensors, 749))[1]
    assert [defect.code for defect in defects] == ["hole"] * 100
    assert defects[-1].facts["more"] == 149


def test_what_follows_the_header_does_not_matter() -> None:
    raw = header({"a": F32}, 8)
    assert parse(raw[:-8], len(raw), "m") != parse(raw, len(raw) - 1, "m")
    assert parse(raw[:-8], len(raw), "m")[1] == []


small = st.integers(-1, 20) | st.sampled_from([2**63, 2**64, True, None, 1.5])
fields = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BF16", "F4", "F99", "", 3]),
        "shape": st.lists(small, max_size=3),
        "data_offsets": st.lists(small, min_size=2, max_size=2) | st.lists(small, max_size=3),
    },
    optional={"extra": st.integers()},
)
likely = st.builds(
    lambda n, begin: entry("U8", [n], begin, begin + n), st.integers(0, 6), st.sampled_from([0, 2, 4, 6])
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    members = [("__metadata__", draw(st.sampled_from([PT, {}, None, {"format": "pt", "x": "y"}, {"x": 1}])))]
    names = st.sampled_from(["a", "b", "c", "a.weight", "\\", '"'])
    members += draw(st.lists(st.tuples(names, likely | fields | st.none()), max_size=4))
    draw(st.randoms()).shuffle(members)
    text = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}"
    return framed(text.encode(), draw(st.integers(0, 16)))


REFUSED = {
    "header-length",
    "header-start",
    "header-not-json",
    "header-not-utf8",
    "deep-json",
    "tensor-malformed",
    "negative-or-huge",
    "unknown-dtype",
    "size-mismatch",
    "hole",
    "overlap",
    "truncated",
    "trailing",
    "metadata-malformed",
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_agrees_with_the_reference_reader(raw: bytes) -> None:
    found = set(codes(raw))
    complaint = refused(raw)
    if complaint is None:
        # Beside a dimension of 0 it takes one of 2^63, which torch has no number for.
        beyond_torch = {"negative-or-huge"} if str(2**63).encode() in raw else set()
        assert not found & REFUSED - beyond_torch
    else:
        assert found & (REFUSED | {"duplicate-key"}), complaint


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 100))
def test_no_bytes_raise(tail: bytes, size: int) -> None:
    for raw in (tail, framed(tail), framed(b"{" + tail)):
        both(raw, size)
        both(raw)
