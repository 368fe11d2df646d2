"""What the names in a pickle of tensors stand for here: storages, dtypes, and the four that make a tensor."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

REBUILD = ("torch._utils", "_rebuild_tensor_v2")
REBUILD_3 = ("torch._utils", "_rebuild_tensor_v3")
PARAMETER = ("torch._utils", "_rebuild_parameter")
ORDERED = ("collections", "OrderedDict")
STORAGES = {
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
}
"""torch's storage classes → the dtype that safetensors has for them."""
DTYPES = {
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
}
"""torch's dtypes that have no storage class: the storage is one of bytes, the tensor names the dtype."""
BYTES = "UntypedStorage"


class Refused(ValueError):
    """The pickle holds something other than tensors; the message names it."""


class Storage(NamedTuple):
    """What a persistent id stands for."""

    dtype: str
    """``U8`` for one of bytes."""
    key: str
    elements: int


class View(NamedTuple):
    """A tensor: a view of a storage, offset, shape and strides in elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Global(NamedTuple):
    """A name that a pickle asks for, one of ours."""

    module: str
    name: str


def view_of(storage: object, offset: object, shape: object, stride: object, kind: object) -> View:
    """Return the tensor that a call of ``_rebuild_tensor`` makes; ``kind`` is its dtype where the storage has none."""
    if not isinstance(storage, Storage) or not is_size(offset):
        raise Refused("a tensor without a storage")
    if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride) or len(shape) > 64:
        raise Refused("a tensor whose shape and strides do not fit")
    if not all(map(is_size, shape + stride)):
        raise Refused("a tensor with a negative size")
    dtype = storage.dtype
    if kind is not None:
        if not isinstance(kind, Global) or kind.name not in DTYPES:
            raise Refused("a tensor of a dtype that safetensors does not have")
        dtype = DTYPES[kind.name]
    return View(storage, dtype, offset, shape, stride)


def is_size(value: object) -> TypeGuard[int]:
    """Whether this is a count that could be one of elements."""
    return type(value) is int and 0 <= value < 2**62
