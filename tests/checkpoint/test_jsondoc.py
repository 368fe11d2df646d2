"""JSON documents: what is wrong with them has a name and a place, and pointers are found where they are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptdoctor.checkpoint import jsondoc
from ckptdoctor.checkpoint.jsondoc import Doc, parse

JSON_FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "sound").glob("*/*.json"))


def only(raw: bytes) -> tuple[str, dict[str, object]]:
    doc = parse(raw, "config.json")
    assert doc.value is None
    assert len(doc.defects) == 1
    assert doc.defects[0].at.file == "config.json"
    return doc.defects[0].code, dict(doc.defects[0].facts)


@pytest.mark.parametrize("path", JSON_FIXTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_sound_files(path: Path) -> None:
    doc = parse(path.read_bytes(), path.name)
    assert doc.defects == ()
    assert doc.value == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("raw", "code", "facts"),
    [
        (b"", "json-empty", {}),
        (b" \r\n", "json-empty", {}),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "json-lfs-pointer", {}),
        (b'{"a": "\xff"}', "json-not-utf8", {"offset": 7}),
        ("{}".encode("utf-16"), "json-not-utf8", {"offset": 0}),
        (b"[" * 50_000, "json-too-deep", {}),
        (b"[1, 2]", "json-not-object", {"type": "array"}),
        (b'"text"', "json-not-object", {"type": "string"}),
        (b"null", "json-not-object", {"type": "null"}),
        (b"true", "json-not-object", {"type": "boolean"}),
        (b"1.5", "json-not-object", {"type": "number"}),
        (bytes(200), "json-invalid", {"why": "it holds only NUL bytes", "line": 1, "column": 1}),
        (b"<html></html>", "json-invalid", {"why": "it is an HTML page", "line": 1, "column": 1}),
        (b"# see README", "json-invalid", {"why": "expecting value", "line": 1, "column": 1}),
        (
            b"../../.cache/huggingface/hub/models--a--b/blobs/0a1b2c",
            "json-invalid",
            {"why": "it holds the target of a link instead of the content", "line": 1, "column": 1},
        ),
        (b'{"a": 1}\n{"b": 2}', "json-extra-data", {"why": "extra data", "line": 2, "column": 1}),
        (
            b'{"a": ' + b"9" * 5000 + b"}",
            "json-invalid",
            {"why": "a number has too many digits", "line": 1, "column": 1},
        ),
    ],
)
def test_unusable(raw: bytes, code: str, facts: dict[str, object]) -> None:
    assert only(raw) == (code, facts)


def test_syntax_errors_have_a_place() -> None:
    defect = parse(b'{\r\n  "a": 1,\r\n  "b" 2\r\n}', "config.json").defects[0]
    assert (defect.code, defect.at.line, defect.at.column) == ("json-invalid", 3, 7)


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsondoc, "MAX_VALUES", 10)
    assert parse(b'{"a": [1,2,3,4,5]}', "c").value is not None
    assert only(b'{"a": [1,2,3,4,5,6,7,8,9,10]}') == (
        "beyond-limit",
        {"what": "values", "got": 11, "limit": 10},
    )


def test_byte_order_mark_is_a_note_and_no_column() -> None:
    doc = parse(b'\xef\xbb\xbf{"a": 1}', "config.json")
    assert doc.value == {"a": 1}
    assert [defect.code for defect in doc.defects] == ["json-bom"]
    assert doc.locate("/a") == (1, 2)


def test_repeated_keys_are_found_at_any_depth() -> None:
    doc = parse(b'{"a": 1,\n "b": [{"x": 1, "y": 2, "x": 3}],\n "a": 4}', "config.json")
    assert doc.value == {"a": 4, "b": [{"x": 3, "y": 2}]}
    found = [(d.code, d.facts["key"], d.at.pointer, d.at.line, d.at.column) for d in doc.defects]
    assert sorted(found) == [
        ("json-duplicate-key", "a", "/a", 3, 2),
        ("json-duplicate-key", "x", "/b/0/x", 2, 25),
    ]
    assert doc.locate("/a") == (3, 2)
    assert doc.locate("/b/0/x") == (2, 25)


def test_keys_that_are_equal_once_unescaped() -> None:
    doc = parse(b'{"a": 1, "\\u0061": 2}', "config.json")
    assert [defect.code for defect in doc.defects] == ["json-duplicate-key"]
    assert doc.locate("/a") == (1, 10)


def test_locate() -> None:
    text = '{\r\n  "a/b~": {"": [1, "}]", {"k\\"": null}]},\r\n\t"ü😀": true, "z": -1.5e3\r\n}'
    doc = parse(text.encode(), "config.json")
    assert doc.locate("") == (1, 1)
    assert doc.locate("/a~1b~0") == (2, 3)
    assert doc.locate("/a~1b~0/") == (2, 12)
    assert doc.locate("/a~1b~0//0") == (2, 17)
    assert doc.locate("/a~1b~0//1") == (2, 20)
    assert doc.locate('/a~1b~0//2/k"') == (2, 27)
    assert doc.locate("/ü😀") == (3, 2)
    assert doc.locate("/z") == (3, 14)
    for absent in ("/nothing", "/z/0", "/a~1b~0//3", "/a~1b~0//x", "/ü😀/x"):
        assert doc.locate(absent) is None


def test_locate_in_an_unusable_file() -> None:
    assert parse(b"{", "config.json").locate("") is None
    assert Doc("config.json", b"", None).locate("/a") is None


def _pointers(value: object, at: str = "") -> list[str]:
    found = [at]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _pointers(inner, f"{at}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += _pointers(inner, f"{at}/{number}")
    return found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), values, max_size=5), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_every_pointer_is_where_its_key_or_value_is_written(
    value: dict[str, object], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    doc = parse(text.encode("utf-8", "surrogatepass"), "config.json")
    if doc.value is None:  # lone surrogates cannot be written as UTF-8
        assert not ascii_only
        return
    lines = text.split("\n")
    for pointer in _pointers(value):
        place = doc.locate(pointer)
        assert place is not None
        rest = "\n".join([lines[place[0] - 1][place[1] - 1 :], *lines[place[0] :]])
        found, _ = json.JSONDecoder().raw_decode(rest)
        parent: object = value
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
        for token in tokens[:-1]:
            parent = parent[int(token)] if isinstance(parent, list) else parent[token]  # type: ignore[index]
        if not tokens:
            assert found == value
        elif isinstance(parent, list):
            assert found == parent[int(tokens[-1])]
        else:
            assert found == tokens[-1]


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("escape", [False, True])
def test_large_files_decode_alike(monkeypatch: pytest.MonkeyPatch, repeat: bool, escape: bool) -> None:
    picker = random.Random(7)
    last = "\\u0065" if escape else "e"
    entries = [f'"layers.{i}.w{last}": "m-{picker.randrange(9)}"' for i in range(500)]
    if repeat:
        entries.append(entries[3])
    raw = (
        '{"metadata": {"total_size": 1e3, "x": [1, null, ""]}, "weight_map": {' + ", ".join(entries) + "}}"
    ).encode()
    slow = parse(raw, "i.index.json")
    monkeypatch.setattr(jsondoc, "_FAST_FROM", 0)
    fast = parse(raw, "i.index.json")
    assert fast.value == slow.value
    assert fast.defects == slow.defects
    assert [defect.code for defect in fast.defects] == (["json-duplicate-key"] if repeat else [])
