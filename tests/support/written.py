"""What fixtures/written holds: checkpoints of real writers but for the values, and what the writers were told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ckptdoctor.rulebook import recipe
from ckptdoctor.sources.memory import MemorySource

from ..conftest import ROOT

WRITTEN = ROOT / "fixtures" / "written"

SCHEMES = {
    "pack-quantized": "ct-packed",
    "int-quantized": "int8",
    "float-quantized": "fp8",
    "nvfp4-pack-quantized": "nvfp4-packed",
    "mxfp4-pack-quantized": "mxfp4-packed",
    "mxfp8-quantized": "mxfp8",
    "gptq": "gptq",
    "auto_round:auto_gptq": "gptq",
    "awq-gemm": "awq",
    "awq-gemv": "awq-gemv",
    "awq-gemv_fast": "awq-gemv-fast",
    "Int8Tensor": "torchao",
    "Float8Tensor": "torchao",
    "IntxUnpackedToInt8Tensor": "torchao",
    "NVFP4Tensor": "torchao-nvfp4",
    "fp8": "fp8-block",
    "mxfp4-experts": "mxfp4",
    "FP8": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8",
    "fp8_pb_wo": "fp8",
    "NVFP4": "nvfp4-modelopt",
    "W4A16_NVFP4": "nvfp4-modelopt",
    "MXFP8": "mxfp8",
    "mxfp4": "mx-plain",
    "W8A16": "int8",
    "W8A8_SQ_PER_CHANNEL": "int8",
    "W4A16_AWQ": "int4-modelopt",
    "mlx-affine": "mlx-affine",
    "mlx-mxfp4": "mlx-fp",
    "mlx-mxfp8": "mlx-fp",
    "mlx-nvfp4": "mlx-fp",
    "mxfp6-pack-quantized": "mxfp4-packed",
}
"""The writers' own words for a format, and ours."""


SAME_SHAPES = ("bits", "group", "in")
UNTOLD: dict[str, tuple[str, ...]] = {
    # widths and group sizes that have the same shapes
    "pack-quantized": SAME_SHAPES,
    "mlx-affine": SAME_SHAPES,
    "mlx-mxfp4": SAME_SHAPES,
    # one code to a byte, whatever its width
    "int-quantized": ("bits", "group"),
    "W8A16": ("bits",),
    "W8A8_SQ_PER_CHANNEL": ("bits",),
    "Int8Tensor": ("bits", "group"),
    "IntxUnpackedToInt8Tensor": ("bits", "group"),
    "Float8Tensor": ("bits",),
    # one block is one row's width
    "float-quantized": ("group",),
    "fp8_pb_wo": ("group",),
    # scales padded to a width of their own
    "awq-gemv": ("group",),
    "awq-gemv_fast": ("group",),
}
"""What the tensors of a format do not always tell."""

OPEN: dict[tuple[str, str], str] = {
    (
        "compressed_tensors/w4a8",
        "vllm",
    ): "vLLM packs the same codes, which the observer counts as another precision",
    ("compressed_tensors/w4afp8", "vllm"): "no kernel on a CPU",
    ("modelopt/int8-smoothquant", "transformers"): "the observer has no twin for it",
}
"""Where a view is known to be wrong: the stored one, an alarm, or the verdict for one loader."""


class Written(NamedTuple):
    """One recorded checkpoint."""

    id: str
    record: dict[str, Any]

    def source(self) -> MemorySource:
        """The checkpoint, zeros for values that are not kept."""
        files = {name: {"json": content} for name, content in self.record["files"].items()}
        return recipe.build({"files": files, **{key: self.record[key] for key in ("tensors", "metadata")}})

    def told(self) -> Iterator[tuple[str, dict[str, Any], list[int]]]:
        """Yield every Linear that was quantised, what its writer was told of it, and its ``[out, in]``."""
        for name, shape in self.record["linears"].items():
            for told in self.record["told"]:
                if re.search(told["modules"], name):
                    yield name, told, shape
                    break


def written() -> list[Written]:
    """Every recorded checkpoint."""
    return [
        Written(f"{path.stem}/{name}", record)
        for path in sorted(WRITTEN.glob("*.json"))
        for name, record in json.loads(path.read_text(encoding="utf-8"))["cases"].items()
    ]
