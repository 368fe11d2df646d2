"""Where the tensors of a file that ``torch.save`` wrote lie in it: the zip form, and the one before torch 1.6.

Storages stand in both as they are in memory, so a tensor is a range of bytes, or rows of one. Runs in a process of its
own (``pickled``); what it returns is checked there again.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from ..checkpoint.dtypes import BITS
from .opcodes import MAX_NAME, MAX_PICKLE, Reader, Refused, Storage, View

MAX_PIECES = 1_000_000
"""Ranges that all tensors of a file are made of at most: a transposed embedding would be one per number."""
MAX_GROWTH = 4
"""Bytes of all tensors, as a multiple of the file: tied and expanded tensors share a storage, files do not."""
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""``MAGIC_NUMBER`` of torch/serialization.py, pickled."""
_LOCAL = 30
_WRAPPERS = ("state_dict", "model", "module", "model_state_dict")

Place = tuple[int, int]
"""Begin and length of a storage in the file."""
Found = tuple[str, str, tuple[int, ...], list[Place]]
"""Name, dtype, shape, and (offset, length) of the ranges."""


def tensors(file: int) -> tuple[list[Found], list[str]]:
    """Return the tensors of the file behind a descriptor, and the names of what is no tensor. Raises Refused."""
    size = os.fstat(file).st_size
    head = os.pread(file, len(_LEGACY), 0)
    if head[:4] == b"PK\x03\x04":
        value, places = _zipped(file, size)
    elif head == _LEGACY:
        value, places = _legacy(file, size)
    elif head[:1] == b"\x80":
        raise Refused("a pickle that torch.save did not write")
    else:
        raise Refused("no file that torch.save wrote")
    found, others = _named(value)
    result: list[Found] = []
    pieces = total = 0
    for name, view in found.items():
        ranges = list(_ranges(name, view, places, MAX_PIECES - pieces))
        pieces += len(ranges)
        total += sum(length for _, length in ranges)
        if total > MAX_GROWTH * size:
            raise Refused(
                f"its tensors would take more than {MAX_GROWTH} times the file: {name} repeats values"
            )
        result.append((name, view.dtype, view.shape, ranges))
    return result, others


def _named(value: object) -> tuple[dict[str, View], list[str]]:
    """Return the tensors by name, out of one wrapper at most."""
    value = _unwrapped(value)
    found: dict[str, View] = {}
    others: list[str] = []
    for key, item in value.items():
        name = str(key)
        if isinstance(item, View):
            found[name] = item
        elif type(item) in (dict, list, tuple) and item:
            what = "a training state, of which the model is one part"
            raise Refused(f"{name[:100]} is no tensor but a collection: {what}")
        else:
            others.append(name)
        if len(name) > MAX_NAME:
            raise Refused("a name is too long")
    if not found:
        raise Refused("it holds no tensors")
    return found, others


def _unwrapped(value: object) -> dict[object, object]:
    if not isinstance(value, dict):
        raise Refused("it holds no dictionary of tensors")
    if not any(isinstance(item, View) for item in value.values()):
        inner = [value[key] for key in _WRAPPERS if isinstance(value.get(key), dict)]
        if len(inner) == 1 and isinstance(inner[0], dict):
            return inner[0]
    return value


def _zipped(file: int, size: int) -> tuple[object, Mapping[str, Place]]:
    with os.fdopen(os.dup(file), "rb") as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise Refused(f"its archive cannot be read ({error}); it was cut short, or is no zip") from error
        with archive:
            entries = {info.filename: info for info in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise Refused("its archive has a name twice")
    tops = [name[: -len("data.pkl")] for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise Refused("an archive without one data.pkl: torch.save did not write it (TorchScript and others)")
    top = tops[0]
    if f"{top}constants.pkl" in entries:
        raise Refused("TorchScript: a program, not a file of tensors")
    places = {name: _stored(file, size, info) for name, info in entries.items()}
    order = f"{top}byteorder"
    if order in places and os.pread(file, 6, places[order][0]) != b"little":
        raise Refused("big-endian values")
    begin, length = places[f"{top}data.pkl"]
    if length > MAX_PICKLE:
        raise Refused(f"its pickle has {length:,} bytes, at most {MAX_PICKLE:,} are read")
    value = Reader(os.pread(file, length, begin)).read()
    prefix = f"{top}data/"
    return value, {name[len(prefix) :]: place for name, place in places.items() if name.startswith(prefix)}


def _stored(file: int, size: int, info: zipfile.ZipInfo) -> Place:
    """Return where an entry's bytes are."""
    head = os.pread(file, _LOCAL, info.header_offset) if 0 <= info.header_offset < size else b""
    if len(head) < _LOCAL or head[:4] != b"PK\x03\x04":
        raise Refused("an entry of its archive is not where its directory says")
    begin = (
        info.header_offset
        + _LOCAL
        + int.from_bytes(head[26:28], "little")
        + int.from_bytes(head[28:30], "little")
    )
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise Refused("an entry of its archive is compressed or encrypted, which torch.save does not do")
    if begin + info.file_size > size:
        raise Refused("an entry of its archive goes past the end: the file was cut short")
    return begin, info.file_size


def _legacy(file: int, size: int) -> tuple[object, Mapping[str, Place]]:
    data = os.pread(file, MAX_PICKLE, 0)
    at = len(_LEGACY)
    values: list[object] = []
    for _ in range(4):  # version of the protocol, system, the object, keys of its storages
        reader = Reader(data, at)
        values.append(reader.read())
        at = reader.end
    system, value, keys = values[1:]
    if not isinstance(system, dict) or system.get("little_endian") is not True or not isinstance(keys, list):
        raise Refused("a header that torch does not write, or big-endian values")
    known = {view.storage.key: view.storage for view in _views(value)}
    places: dict[str, Place] = {}
    for key in keys:
        storage = known.get(key) if isinstance(key, str) else None
        if storage is None:
            raise Refused("a storage that no tensor uses: where the next one begins is not known")
        count = int.from_bytes(os.pread(file, 8, at), "little")
        length = count * BITS[storage.dtype] // 8
        at += 8 + length
        if at > size:
            raise Refused("it ends in the middle: the file was cut short")
        places[key] = (at - length, length)
    return value, places


def _views(value: object) -> Iterator[View]:
    for item in value.values() if isinstance(value, dict) else ():
        if isinstance(item, View):
            yield item
        elif isinstance(item, dict):
            yield from (inner for inner in item.values() if isinstance(inner, View))


def _ranges(name: str, view: View, places: Mapping[str, Place], left: int) -> Iterator[Place]:
    """Yield the ranges of the file that hold ``view``, in its order."""
    if view.storage.key not in places:
        raise Refused(f"the values of {name} are not in it")
    begin, length = places[view.storage.key]
    width = BITS[view.dtype] // 8
    if not prod(view.shape):
        return
    reach = (
        view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True)) + 1
    )
    if reach * width > length or _bytes(view.storage) > length:
        raise Refused(f"{name} goes past the end of its storage")
    inner, dims = 1, list(zip(view.shape, view.stride, strict=True))
    while dims and (dims[-1][0] == 1 or dims[-1][1] == inner):
        inner *= dims.pop()[0]
    if prod(size for size, _ in dims) > left:
        raise Refused(
            f"{name} is a view of which every few values lie apart; save it with .contiguous() first"
        )
    for place in product(*(range(size) for size, _ in dims)):
        offset = view.offset + sum(at * step for at, (_, step) in zip(place, dims, strict=True))
        yield begin + offset * width, inner * width


def _bytes(storage: Storage) -> int:
    return storage.elements * BITS[storage.dtype] // 8
