"""ModelOpt: one algorithm, in config.json or in the object ``quantization`` of ``hf_quant_config.json``."""

from __future__ import annotations

from ..checkpoint.nouns import Declared
from . import compressed_tensors
from .base import Block, Format, Said, number, texts
from .layout import SCALAR, Layout, Tensors


class ModelOpt(Format):
    """ModelOpt."""

    def said(self, declared: Declared) -> Said:
        """``convert_hf_quant_config_format`` of ModelOpt; a block without an algorithm may have groups."""
        block = declared.block
        groups = block.get("config_groups")
        if "quant_algo" not in block and isinstance(groups, dict):
            return compressed_tensors.said(block, groups)
        word = str(block.get("quant_algo", ""))
        bits = self.data["words"].get(word, {}).get("bits")
        return Said(bits, number(block.get("group_size")), format=word)

    def input_scale(self, declared: Declared) -> bool | None:
        """Kernels of some algorithms ask for the scale of the activations; blocks of new say if there is none."""
        if declared.block.get("with_input_scale") is False or compressed_tensors.weights_only(declared.block):
            return None
        found: bool | None = self.word(self.said(declared)).get("input_scale")
        return found

    def layout(self, block: Block) -> Layout | None:
        """Return how weights are to be stored."""
        return layout(block)


def layout(block: Block) -> Layout | None:
    """Return how weights are to be stored, None for an algorithm that is not modelled."""
    return _LAYOUTS.get(algorithm(block))


def inner(block: Block) -> Block:
    """Return what declares: the object ``quantization`` of the older form, else the block itself."""
    found = block.get("quantization")
    return found if isinstance(found, dict) else block


def algorithm(block: Block) -> str:
    """Return ``quant_algo`` in capitals, "" when there is none."""
    return str(inner(block).get("quant_algo") or "").upper()


def listed(block: Block) -> tuple[str, ...]:
    """Return the modules that are left alone: ``exclude_modules`` in the older form, else ``ignore``."""
    older = isinstance(block.get("quantization"), dict)
    return texts(inner(block).get("exclude_modules" if older else "ignore"))


def _fp8(layout: Layout, rows: int, columns: int) -> Tensors:
    return {"weight": (rows, columns), "weight_scale": SCALAR, "input_scale": SCALAR}


def _nvfp4(layout: Layout, rows: int, columns: int) -> Tensors:
    scales: Tensors = {"weight_scale": (rows, columns // 16), "weight_scale_2": SCALAR, "input_scale": SCALAR}
    return {"weight": (rows, columns // 2), **scales}


_LAYOUTS = {
    "FP8": Layout("modelopt-fp8", _fp8, per_tensor=True, static_input=True),
    "NVFP4": Layout("modelopt-nvfp4", _nvfp4, bits=4, group=16, static_input=True),
}

FORMAT = ModelOpt
