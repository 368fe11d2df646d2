"""Recipe operations on the bytes of one tensor, in plain Python: fixtures are small, no numpy is needed."""

from __future__ import annotations

import itertools
import json
import math
import struct
from bisect import bisect
from typing import Any

from tests.observe.container import BITS, Tensor, nbytes

PACK = {
    "U8": "B",
    "F8_E4M3": "B",
    "F8_E5M2": "B",
    "I8": "b",
    "I16": "h",
    "I32": "i",
    "I64": "q",
    "F16": "e",
    "F32": "f",
    "F64": "d",
}
# The 16 levels of NormalFloat, appendix E of https://arxiv.org/abs/2305.14314.
NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
    *(0.7229568362236023, 1.0),
)
NF4_BLOCK = 64


def floats(tensor: Tensor) -> list[float]:
    """The values of a tensor as Python numbers."""
    if tensor.dtype == "BF16":
        words = struct.unpack(f"<{len(tensor.data) // 2}H", tensor.data)
        return list(
            struct.unpack(f"<{len(words)}f", b"".join(struct.pack("<I", word << 16) for word in words))
        )
    kind = PACK[tensor.dtype]
    return list(struct.unpack(f"<{len(tensor.data) * 8 // BITS[tensor.dtype]}{kind}", tensor.data))


def packed(dtype: str, values: list[float]) -> bytes:
    """The little-endian bytes of `values`, floats rounded to nearest even."""
    if dtype == "BF16":
        words = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(words)}H", *((word + 0x7FFF + (word >> 16 & 1)) >> 16 for word in words))
    cells = values if PACK[dtype] in "efd" else [int(value) for value in values]  # 8-bit floats by their code
    return struct.pack(f"<{len(cells)}{PACK[dtype]}", *cells)


def literal(args: dict[str, Any]) -> Tensor:
    """A tensor spelled out: bytes of `json`, or `dtype` and `shape` with `values` (repeated to fill it)."""
    if "json" in args:
        text = json.dumps(args["json"]).encode()
        return Tensor("U8", (len(text),), text)
    shape = tuple(args["shape"])
    values = args.get("values", [0])
    count = math.prod(shape)
    return Tensor(args["dtype"], shape, packed(args["dtype"], (values * (count // len(values) + 1))[:count]))


def cast(tensor: Tensor, args: dict[str, Any]) -> Tensor:
    """The same values in the dtype `to`."""
    return Tensor(args["to"], tensor.shape, packed(args["to"], floats(tensor)))


def view(tensor: Tensor, args: dict[str, Any]) -> Tensor:
    """The same bytes under another `dtype` or `shape`."""
    dtype, shape = args.get("dtype", tensor.dtype), tuple(args.get("shape", tensor.shape))
    if nbytes(dtype, shape) != len(tensor.data):
        raise ValueError(f"{dtype} {shape} does not hold {len(tensor.data)} bytes")
    return Tensor(dtype, shape, tensor.data)


def rows(tensor: Tensor, args: dict[str, Any]) -> Tensor:
    """The first `keep` rows, the tensor being repeated when it has fewer."""
    keep = args["keep"]
    row = nbytes(tensor.dtype, tensor.shape[1:])
    data = tensor.data * (-(-keep // tensor.shape[0]))
    return Tensor(tensor.dtype, (keep, *tensor.shape[1:]), data[: keep * row])


def filled(tensor: Tensor, args: dict[str, Any]) -> Tensor:
    """The same dtype and shape, every element being `value`."""
    return Tensor(tensor.dtype, tensor.shape, packed(tensor.dtype, [args["value"]]) * math.prod(tensor.shape))


def transposed(tensor: Tensor, _args: dict[str, Any]) -> Tensor:
    """The transpose of a matrix."""
    height, width = tensor.shape
    size = BITS[tensor.dtype] // 8
    cells = [tensor.data[at : at + size] for at in range(0, len(tensor.data), size)]
    return Tensor(tensor.dtype, (width, height), b"".join(b"".join(cells[at::width]) for at in range(width)))


def edited_json(tensor: Tensor, args: dict[str, Any]) -> Tensor:
    """The JSON text that a quant_state tensor holds, `set` merged into it and the keys `drop` removed."""
    state = {**json.loads(tensor.data), **args.get("set", {})}
    return literal({"json": {key: value for key, value in state.items() if key not in args.get("drop", [])}})


def nf4(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One weight as bitsandbytes stores NF4: packed codes, absmax, the code book and the state."""
    values = floats(tensor)
    edges = [(low + high) / 2 for low, high in itertools.pairwise(NF4)]
    absmax, codes = [], []
    for start in range(0, len(values), NF4_BLOCK):
        block = values[start : start + NF4_BLOCK]
        scale = max(map(abs, block))
        absmax.append(scale)
        codes += [bisect(edges, value / scale) if scale else 7 for value in block]
    data = bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))
    state = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "bfloat16", "shape": list(tensor.shape)}
    return {
        name: Tensor("U8", (len(data), 1), data),
        f"{name}.absmax": Tensor("F32", (len(absmax),), packed("F32", absmax)),
        f"{name}.quant_map": Tensor("F32", (16,), packed("F32", list(NF4))),
        f"{name}.quant_state.bitsandbytes__nf4": literal({"json": state}),
    }


def int8(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One weight as bitsandbytes stores LLM.int8: codes, the largest value of every row, and the format's number."""
    values, width = floats(tensor), tensor.shape[-1]
    largest, codes = [], []
    for start in range(0, len(values), width):
        row = values[start : start + width]
        largest.append(max(map(abs, row)))
        codes += [float(round(127 * value / largest[-1])) if largest[-1] else 0.0 for value in row]
    module = name.removesuffix(".weight")
    return {
        name: Tensor("I8", tensor.shape, packed("I8", codes)),
        f"{module}.SCB": Tensor("F32", (len(largest),), packed("F32", largest)),
        f"{module}.weight_format": Tensor("U8", (), b"\0"),
    }
