"""bitsandbytes: a block that says 4 or 8 bits; how weights are stored newer loaders read off the tensors themselves."""

from __future__ import annotations

from typing import NamedTuple

from ..ruledata import Rulebook
from .base import Block, Format
from .declared import method

NAME = "bitsandbytes"
SKIPPED = "llm_int8_skip_modules"
FLAGS = ("load_in_4bit", "load_in_8bit")
_FOUR = 4


class Stored(NamedTuple):
    """What the tensors say about a whole checkpoint."""

    bits: int
    """4 or 8; 0 when everything is dense."""
    kind: str = ""
    """``nf4`` or ``fp4``, "" where both occur or for 8 bits."""
    nested: bool = False
    storage: str = ""
    """Name of the dtype that the packed weights have, "" where they have several."""


def states(block: Block, rulebook: Rulebook) -> bool:
    """Whether a block names this method."""
    return method(block, rulebook) == NAME


def described(found: Stored) -> dict[str, object]:
    """Return the keys that tell how 4-bit tensors are stored."""
    if found.bits != _FOUR:
        return {}
    keys: dict[str, object] = {"bnb_4bit_use_double_quant": found.nested}
    if found.kind:
        keys["bnb_4bit_quant_type"] = found.kind
    if found.storage:
        keys["bnb_4bit_quant_storage"] = found.storage
    return keys


def block(found: Stored, skipped: list[str] | None, compute_dtype: str) -> dict[str, object]:
    """Return a whole block with the keys that ``BitsAndBytesConfig`` of transformers writes, in its order."""
    four = found.bits == _FOUR
    whole: dict[str, object] = {
        "_load_in_4bit": four,
        "_load_in_8bit": not four,
        "bnb_4bit_compute_dtype": compute_dtype if four else "float32",
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": "fp4",
        "bnb_4bit_use_double_quant": False,
        "llm_int8_enable_fp32_cpu_offload": False,
        "llm_int8_has_fp16_weight": False,
        SKIPPED: skipped,
        "llm_int8_threshold": 6.0,
        "load_in_4bit": four,
        "load_in_8bit": not four,
        "quant_method": NAME,
    }
    return whole | described(found)


FORMAT = Format
