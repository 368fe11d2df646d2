"""Header JSON → tensor entries: one strict decoder in three speeds, all with the same answers.

A header that has no backslash and exactly as many quotes as well-formed entries need cannot hide a repeated key,
so the fast decoders may be trusted; anything else is decoded pair by pair.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from .limits import MAX_NUMBERS, MAX_ODD_MEMBERS, MAX_TENSORS
from .nouns import TensorEntry

METADATA = "__metadata__"

_LEADING_METADATA = re.compile(rb'\s*\{\s*"__metadata__"\s*:\s*')
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FIELDS = ("dtype", "shape", "data_offsets")


class Entry(NamedTuple):
    """One tensor as its header states it."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class Repeated(NamedTuple):
    """A name that occurs again; ``shadowed`` is the earlier entry that readers drop."""

    name: str
    shadowed: object


class Decoded(NamedTuple):
    """The content of a header. What is no proper tensor entry is kept apart, as found."""

    tensors: Mapping[str, TensorEntry]
    malformed: Mapping[str, tuple[str, str]]
    """Name → field (``""`` for the entry itself) and why."""
    metadata: object
    """``__metadata__`` as found, ``...`` when absent."""
    repeated: tuple[Repeated, ...] = ()


class NotJson(Exception):
    """The text is not JSON, or not what a strict reader takes for it."""


class TooLarge(Exception):
    """The header has more of something than is read."""

    def __init__(self, what: str, got: int, limit: int) -> None:
        super().__init__(f"{got} {what}, at most {limit} are read")
        self.what = what
        self.got = got
        self.limit = limit


def decode(raw: bytes, *, fast: bool) -> Decoded | None:
    """Decode header JSON; None when it is not an object.

    What ``fast`` returns holds only if the layout of the tensors proves sound, or if it is not `doubtful`. Raises
    NotJson, TooLarge, UnicodeDecodeError or RecursionError.
    """
    objects = raw.count(b"{")
    _bound("entries in its header", objects, MAX_TENSORS)
    _bound("numbers in its header", raw.count(b","), MAX_NUMBERS)
    plain = b"\\" not in raw
    if plain and fast:
        decoded = _by_msgspec(raw)
        if decoded is not None:
            return decoded
    parts = max(raw.count(b":"), objects + raw.count(b"["))
    _bound("members in a header with escapes or faults", parts, MAX_ODD_MEMBERS)
    text = raw.decode("utf-8")
    if plain:
        value = _loads(text)
        if isinstance(value, dict) and raw.count(b'"') == _quotes(value):
            decoded = _sort_out(list(value.items()))
            if not decoded.malformed:
                return decoded
    return _by_pairs(text)


def _bound(what: str, got: int, limit: int) -> None:
    if got > limit:
        raise TooLarge(what, got, limit)


def _by_msgspec(raw: bytes) -> Decoded | None:
    """Decode by msgspec's typed decoder; None when it refuses or a repeated key may be hidden."""
    if not raw.isascii():
        raw.decode("utf-8")  # msgspec passes over the strings of fields that nobody asked for
    try:
        tensors = _typed_decoder()(raw)
        metadata = _leading_metadata(raw) if METADATA in tensors else ...
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    tensors.pop(METADATA, None)
    strings = 10 * len(tensors)
    if isinstance(metadata, dict):
        if not all(isinstance(value, str) for value in metadata.values()):
            return None
        strings += 2 + 4 * len(metadata)
    elif metadata is not ...:
        return None
    if raw.count(b'"') != strings:
        return None
    return Decoded(tensors, {}, metadata)


def doubtful(decoded: Decoded) -> bool:
    """Whether some entry may lack a field, in place of which the fast decoder puts a value that no sound one has."""
    return any(
        not tensor.dtype or tensor.data_offsets == (-1, -1) or tensor.shape == (-1,)
        for tensor in decoded.tensors.values()
    )


@cache
def _typed_decoder() -> Callable[[bytes], dict[str, TensorEntry]]:
    """Return a decoder to structs that the garbage collector does not track."""
    import msgspec

    entry = msgspec.defstruct(
        "Entry",
        [("dtype", str, ""), ("shape", tuple[int, ...], (-1,)), ("data_offsets", tuple[int, int], (-1, -1))],
        gc=False,
    )
    decoder: Callable[[bytes], dict[str, TensorEntry]] = msgspec.json.Decoder(dict[str, entry]).decode  # type: ignore[valid-type]
    return decoder


def _leading_metadata(raw: bytes) -> object:
    """Return ``__metadata__`` where it comes first (as every writer puts it), None when it does not."""
    match = _LEADING_METADATA.match(raw)
    if match is None:
        return None
    value, _ = json.JSONDecoder().raw_decode(
        raw[match.end() : match.end() + 65536].decode("utf-8", "replace")
    )
    return value


def _reject(constant: str) -> object:
    raise NotJson(f"{constant} is not JSON")


def _loads(text: str, pairs: Callable[[list[tuple[str, object]]], object] | None = None) -> object:
    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=_reject)
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise NotJson(f"{message} at byte {len(text[: error.pos].encode()) + 8}") from None
    except ValueError:  # an integer of more than 4300 digits
        raise NotJson("a number has too many digits") from None


def _quotes(header: Mapping[str, object]) -> int:
    """Return how many quotes the header has if each entry holds its three fields and nothing else (-1: cannot)."""
    count = 10 * len(header)
    metadata = header.get(METADATA, ...)
    if metadata is ...:
        return count
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return -1
    return count - 8 + 4 * len(metadata)


class _Pairs(list[tuple[str, object]]):
    """An object's members in order, repetitions included."""


def _by_pairs(text: str) -> Decoded | None:
    value = _loads(text, _Pairs)
    if not isinstance(value, _Pairs):
        return None
    if "\\u" in text and _surrogates(value):
        raise NotJson("a string holds half of a surrogate pair")
    return _sort_out(value)


def _surrogates(root: object) -> bool:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, str) and _LONE_SURROGATE.search(value):
            return True
        if isinstance(value, (list, tuple)):
            stack.extend(value)
    return False


def _sort_out(members: list[tuple[str, object]]) -> Decoded:
    """Tell tensors, malformed entries, metadata and repetitions apart."""
    tensors: dict[str, TensorEntry] = {}
    malformed: dict[str, tuple[str, str]] = {}
    metadata: object = ...
    repeated: list[Repeated] = []
    for name, value in members:
        if name == METADATA:
            if metadata is not ...:
                repeated.append(Repeated(name, None))
            metadata = _plain(value)
            continue
        if name in tensors or name in malformed:
            repeated.append(Repeated(name, tensors.pop(name, None)))
            malformed.pop(name, None)
        entry = _entry(value)
        if isinstance(entry, Entry):
            tensors[name] = entry
        else:
            malformed[name] = entry
    return Decoded(tensors, malformed, metadata, tuple(repeated))


def _plain(value: object) -> object:
    if isinstance(value, _Pairs):
        return {key: _plain(inner) for key, inner in value}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _given_twice(members: _Pairs) -> str | None:
    """Return the first field of an entry that occurs again, None where only others do."""
    return next((name for name in _FIELDS if sum(key == name for key, _ in members) > 1), None)


def _entry(value: object) -> Entry | tuple[str, str]:
    """Return the entry, or which field is wrong and why."""
    if isinstance(value, _Pairs):
        fields = dict(value)
        if len(fields) != len(value) and (twice := _given_twice(value)):
            return twice, "given twice"
    elif isinstance(value, dict):
        fields = value
    else:
        return "", "not an object"
    for name in _FIELDS:
        if name not in fields:
            return name, "missing"
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if type(dtype) is not str:
        return "dtype", "not a string"
    if type(shape) is not list or not all(type(dim) is int for dim in shape):
        return "shape", "not a list of integers"
    if type(offsets) is not list or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        return "data_offsets", "not two integers"
    return Entry(dtype, tuple(shape), (offsets[0], offsets[1]))
