"""Declarations outside ``quantization_config`` of config.json: which loader reads them, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.declared_scheme import said
from ..checkpoint.nouns import Declared
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

_FILES = frozenset({"hf_quant_config.json", "quantize_config.json", "quant_config.json"})


def differs(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield every number that a file beside config.json tells otherwise than config.json."""
    rows = list(context.ckpt.declared())
    if not rows or rows[0].file != "config.json":
        return
    first, told = rows[0], said(rows[0])
    for other in rows[1:]:
        if other.file not in _FILES:
            continue
        method, second = _method(other), said(other)
        place = (Location(other.file, other.pointer or None), Location(first.file, first.pointer))
        if first.method and method and not first.method.startswith(method):
            yield Hit(_facts(other, "quant_method", method, first.method), place)
            continue
        for key, beside, main in (("bits", second.bits, told.bits), ("group_size", second.group, told.group)):
            if beside is not None and main is not None and beside != main:
                yield Hit(_facts(other, key, beside, main), place)


def left_over(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if hf_quant_config.json declares a quantisation for weights that are all 16-bit."""
    rows = list(context.ckpt.declared())
    if not rows or rows[0].file != "hf_quant_config.json" or "quantization_config" in context.ckpt.config:
        return
    stored = [signature.stored for signature in context.view.signatures]
    if stored and all(one.scheme and not one.quantized for one in stored):
        yield Hit(
            {"algorithm": str(rows[0].block.get("quant_algo", ""))[:40]},
            (Location(rows[0].file, rows[0].pointer),),
        )


def nested(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if only the text part of config.json declares how quantised tensors are stored."""
    row = next(context.ckpt.declared(), None)
    if row is None or row.file != "config.json" or not row.pointer.startswith("/text_config/"):
        return
    for signature in context.view.signatures:
        if signature.stored.quantized:
            facts: dict[str, Fact] = {"scheme": signature.stored.scheme, "pointer": row.pointer}
            yield Hit(facts, (Location(row.file, row.pointer), *context.view.locate(signature, limit=99)))
            return


def _method(declared: Declared) -> str:
    """Return the method, guessed from the file where the old writers did not state it."""
    block = declared.block
    if declared.method:
        return declared.method
    if "quant_algo" in block:
        return "modelopt"
    if "w_bit" in block or "zero_point" in block:
        return "awq"
    return "gptq" if "bits" in block and "desc_act" in block else ""


def _facts(declared: Declared, key: str, beside: Fact, main: Fact) -> dict[str, Fact]:
    return {"file": declared.file, "key": key, "beside": beside, "main": main}
