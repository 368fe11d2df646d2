"""How one module is to be stored by its config: a scheme's numbers, and the tensors that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Shape = tuple[int, ...]

SCALAR: Shape = (1,)


class Layout(NamedTuple):
    """The format of one module as a config declares it."""

    format: str
    """``pack-quantized int-quantized float-quantized nvfp4-pack-quantized mxfp4-pack-quantized`` of
    compressed-tensors, ``fp8``, ``gptq``, ``awq``, ``modelopt-fp8``, ``modelopt-nvfp4``; another word where the
    tensors are not known."""
    bits: int = 8
    group: int | None = None
    """Input columns that share a scale; None for all of a row."""
    block: tuple[int, int] | None = None
    """Rows and columns of a tile that shares a scale."""
    per_tensor: bool = False
    symmetric: bool = True
    static_input: bool = False


def parts(layout: Layout, rows: int | None, columns: int | None) -> Mapping[str, Shape | None] | None:
    """Return tensor → shape for a weight ``[rows, columns]``; None where the format's tensors are not known.

    Shapes are None as far as the weight's own is not known.
    """
    named = _NAMES.get(layout.format)
    if named is None:
        return None
    if rows is None or columns is None:
        return dict.fromkeys(named(layout, 1, 1))
    return named(layout, rows, columns)


def _scales(layout: Layout, rows: int, columns: int) -> Shape:
    if layout.block:
        return (-(-rows // layout.block[0]), -(-columns // layout.block[1]))
    if layout.per_tensor:
        return SCALAR
    return (rows, -(-columns // layout.group) if layout.group else 1)


def _packed(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    scales = _scales(layout, rows, columns)
    found: dict[str, Shape | None] = {
        "weight_packed": (rows, -(-columns * layout.bits // 32)),
        "weight_scale": scales,
        "weight_shape": (2,),
    }
    if not layout.symmetric:
        found["weight_zero_point"] = (-(-rows * layout.bits // 32), scales[-1])
    return found


def _whole(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    found: dict[str, Shape | None] = {
        "weight": (rows, columns),
        "weight_scale": _scales(layout, rows, columns),
    }
    if layout.static_input:
        found["input_scale"] = SCALAR
    return found


def _nvfp4(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    found: dict[str, Shape | None] = {
        "weight_packed": (rows, columns // 2),
        "weight_scale": (rows, columns // 16),
        "weight_global_scale": SCALAR,
    }
    if layout.static_input:
        found["input_global_scale"] = SCALAR
    return found


def _mxfp4(_: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    return {"weight_packed": (rows, columns // 2), "weight_scale": (rows, columns // 32)}


def _modelopt_fp8(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    return {"weight": (rows, columns), "weight_scale": SCALAR, "input_scale": SCALAR}


def _modelopt_nvfp4(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    scales = {"weight_scale": (rows, columns // 16), "weight_scale_2": SCALAR, "input_scale": SCALAR}
    return {"weight": (rows, columns // 2), **scales}


def _fp8(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    name = "weight_scale_inv" if layout.block else "weight_scale"
    found: dict[str, Shape | None] = {"weight": (rows, columns), name: _scales(layout, rows, columns)}
    if layout.static_input:
        found["input_scale"] = SCALAR
    return found


def _gptq(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    groups = -(-columns // layout.group) if layout.group else 1
    return {
        "qweight": (columns * layout.bits // 32, rows),
        "qzeros": (groups, rows * layout.bits // 32),
        "scales": (groups, rows),
        "g_idx": (columns,),
    }


def _awq(layout: Layout, rows: int, columns: int) -> dict[str, Shape | None]:
    per = 32 // layout.bits
    groups = -(-columns // layout.group) if layout.group else 1
    found: dict[str, Shape | None] = {"qweight": (columns, rows // per), "scales": (groups, rows)}
    return found if layout.symmetric else {**found, "qzeros": (groups, rows // per)}


_NAMES = {
    "pack-quantized": _packed,
    "int-quantized": _whole,
    "float-quantized": _whole,
    "naive-quantized": _whole,
    "nvfp4-pack-quantized": _nvfp4,
    "mxfp4-pack-quantized": _mxfp4,
    "modelopt-fp8": _modelopt_fp8,
    "modelopt-nvfp4": _modelopt_nvfp4,
    "fp8": _fp8,
    "gptq": _gptq,
    "awq": _awq,
}
