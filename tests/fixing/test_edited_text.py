"""JSON texts and headers after an edit: the member is what was asked for, every other character is as it was."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.fixing.changes import Patch, Splice
from ckptdoctor.fixing.headers import Refused, rewritten
from ckptdoctor.fixing.jsontext import NoPlace, edited, value_of, with_keys
from ckptdoctor.model import MetaSet, TensorRename, TensorView

WRITTEN = {
    "two spaces": '{\n  "a": 1,\n  "b": {\n    "c": [1.0, 2]\n  }\n}\n',
    "four spaces, CRLF": '{\r\n    "a": 1,\r\n    "b": {\r\n        "c": [1.0, 2]\r\n    }\r\n}',
    "tabs": '{\n\t"a" : 1,\n\t"b" : {\n\t\t"c" : [1.0, 2]\n\t}\n}\n',
    "one line": '{"a": 1, "b": {"c": [1.0, 2]}}',
    "compact": '{"a":1,"b":{"c":[1.0,2]}}\n',
    "with a mark": '\ufeff{\n  "a": 1,\n  "b": {\n    "c": [1.0, 2]\n  }\n}\n',
}
AFTER = {
    "two spaces": '{\n  "a": true,\n  "b": {\n    "c": [1.0, 2],\n    "d": {\n      "e": null\n    }\n  }\n}\n',
    "four spaces, CRLF": '{\r\n    "a": true,\r\n    "b": {\r\n        "c": [1.0, 2],\r\n        "d": {\r\n'
    '            "e": null\r\n        }\r\n    }\r\n}',
    "tabs": '{\n\t"a" : true,\n\t"b" : {\n\t\t"c" : [1.0, 2],\n\t\t"d" : {\n\t\t\t"e": null\n\t\t}\n\t}\n}\n',
    "one line": '{"a": true, "b": {"c": [1.0, 2], "d": {"e": null}}}',
    "compact": '{"a":true,"b":{"c":[1.0,2],"d":{"e":null}}}\n',
    "with a mark": '\ufeff{\n  "a": true,\n  "b": {\n    "c": [1.0, 2],\n    "d": {\n      "e": null\n    }\n  }\n}\n',
}


@pytest.mark.parametrize("style", WRITTEN)
def test_the_authors_style_is_kept(style: str) -> None:
    text = edited(WRITTEN[style], "", {"a": True})
    assert edited(text, "/b", {"d": {"e": None}}) == AFTER[style]


@pytest.mark.parametrize("style", WRITTEN)
def test_what_was_added_can_be_dropped_again(style: str) -> None:
    text = WRITTEN[style]
    assert edited(edited(text, "/b", {"d": 1}), "/b", {}, {"d"}) == text
    assert value_of(edited(text, "", {}, {"a"}), "/a") == ()
    assert json.loads(edited(text, "", {}, {"a", "b"}).lstrip("\ufeff")) == {}


def test_a_first_member_is_written_in_the_style_of_the_file() -> None:
    assert edited('{\n  "a": {}\n}\n', "/a", {"b": 1}) == '{\n  "a": {\n    "b": 1\n  }\n}\n'
    assert edited("{}", "", {"b": 1}) == '{"b": 1}'


def test_no_object_is_no_place() -> None:
    for pointer in ("/a", "/a/b", "/x"):
        with pytest.raises(NoPlace):
            edited('{"a": 1}', pointer, {"b": 1})
    with pytest.raises(NoPlace):
        edited("[1]", "", {"b": 1})


keys = st.text(st.characters(codec="utf-8", exclude_characters="~/"), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=5)


@given(
    objects,
    st.dictionaries(keys, values, max_size=3),
    st.sets(keys, max_size=3),
    st.sampled_from([None, 1, 2, "\t"]),
    st.booleans(),
)
def test_an_edit_does_what_it_says(
    old: dict[str, Any], new: dict[str, Any], gone: set[str], indent: str | int | None, plain: bool
) -> None:
    drop = {key for key in (*gone, *list(old)[1:2]) if key not in new}
    text = json.dumps(old, indent=indent, ensure_ascii=plain)
    after = json.loads(edited(text, "", new, drop))
    assert after == {key: value for key, value in {**old, **new}.items() if key not in drop}
    assert [key for key in after if key in old] == [key for key in old if key not in drop]


@given(objects)
def test_keys_are_renamed_in_place(old: dict[str, Any]) -> None:
    names = {key: f"{key}-new" for key in old if f"{key}-new" not in old}
    after = json.loads(with_keys(json.dumps({"map": old}), "/map", names))["map"]
    assert list(after) == [names[key] for key in old]


def header(value: dict[str, Any], pad: int = 0) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text


def tensor(dtype: str = "BF16", shape: tuple[int, ...] = (2, 2), begin: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, begin + 8]}


def read(change: Patch | Splice) -> dict[str, Any]:
    raw = change.content if isinstance(change, Patch) else change.head
    length = struct.unpack("<Q", raw[:8])[0]
    assert len(raw) == 8 + length
    return dict(json.loads(raw[8:]))


OLD = {"__metadata__": {"format": "pt"}, "module.a.weight": tensor(), "b": tensor("U8", (8,), 8)}


def test_a_shorter_header_keeps_its_length_and_order() -> None:
    head = header(OLD)
    change = rewritten("x", head, [TensorRename("x", "module.a.weight", "a.weight")])
    assert isinstance(change, Patch)
    assert len(change.content) == len(head)
    assert list(read(change)) == ["__metadata__", "a.weight", "b"]
    assert read(change)["a.weight"] == tensor()


def test_a_longer_header_is_spliced_in_aligned() -> None:
    change = rewritten("x", header(OLD), [TensorRename("x", "b", "b" * 40)])
    assert isinstance(change, Splice)
    assert (len(change.head) % 8, change.was) == (0, header(OLD))
    assert read(change)["b" * 40] == tensor("U8", (8,), 8)


def test_padding_makes_room() -> None:
    head = header(OLD, pad=64)
    assert isinstance(rewritten("x", head, [TensorRename("x", "b", "b" * 40)]), Patch)


def test_two_names_may_be_exchanged() -> None:
    edits = [TensorRename("x", "b", "module.a.weight"), TensorRename("x", "module.a.weight", "b")]
    after = read(rewritten("x", header(OLD), edits))
    assert (after["b"], after["module.a.weight"]) == (tensor(), tensor("U8", (8,), 8))


def test_the_same_bytes_seen_otherwise() -> None:
    edit = TensorView("x", "b", "BF16", (4, 1), ("U8", (8,)))
    assert read(rewritten("x", header(OLD), [edit]))["b"] == tensor("BF16", (4, 1), 8)


@pytest.mark.parametrize(
    ("edit", "because"),
    [
        (TensorRename("x", "c", "d"), "no tensor c"),
        (TensorRename("x", "b", "module.a.weight"), "already"),
        (TensorRename("x", "b", "__metadata__"), "already"),
        (TensorView("x", "b", "BF16", (8,), ("U8", (8,))), "another number of bytes"),
        (TensorView("x", "b", "BF16", (4,), ("I8", (8,))), "not I8"),
        (TensorView("x", "c", "BF16", (4,), ("U8", (8,))), "no tensor c"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit: TensorRename | TensorView, because: str) -> None:
    with pytest.raises(Refused, match=because):
        rewritten("x", header(OLD), [edit])


@pytest.mark.parametrize("old", [{"format": "mlx", "k": "v"}, {}, None, ...])
def test_metadata_is_set_whatever_was_there(old: Any) -> None:
    value = {"a": tensor()} if old is ... else {"__metadata__": old, "a": tensor()}
    after = read(rewritten("x", header(value), [MetaSet("x", "format", "pt", None)]))
    kept = {key: item for key, item in (old if isinstance(old, dict) else {}).items() if key != "format"}
    assert after == {"__metadata__": {**kept, "format": "pt"}, "a": tensor()}
    gone = read(rewritten("x", header(after), [MetaSet("x", "format", None, "pt")]))
    assert gone["__metadata__"] == kept
