"""Declarations outside ``quantization_config`` of config.json: which loader reads them, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.nouns import Declared
from ..formats import registry
from ..formats.base import Said
from ..formats.declared import declarations, preferred
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params


def differs(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield every number that a file beside config.json tells otherwise than config.json."""
    rows = list(declarations(context.ckpt))
    if not rows or rows[0].file != "config.json":
        return
    first, main = rows[0], _said(context, rows[0])
    for other in rows[1:]:
        if other.file == first.file:
            continue
        method, beside = registry.method_of(other, context.rulebook), _said(context, other)
        place = (Location(other.file, other.pointer or None), Location(first.file, first.pointer))
        if first.method and method and not first.method.startswith(method):
            yield Hit(_facts(other, "quant_method", method, first.method), place)
            continue
        for key, second, told in (
            ("bits", beside.bits, main.bits),
            ("group_size", beside.group, main.group),
        ):
            if second is not None and told is not None and second != told:
                yield Hit(_facts(other, key, second, told), place)


def _said(context: Context, declared: Declared) -> Said:
    return registry.of(declared, context.rulebook).said(declared)


def left_over(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if hf_quant_config.json declares a quantisation for weights that are all 16-bit."""
    rows = list(declarations(context.ckpt))
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
    row = preferred(context.ckpt)
    if row is None or row.file != "config.json" or not row.pointer.startswith("/text_config/"):
        return
    for signature in context.view.signatures:
        if signature.stored.quantized:
            facts: dict[str, Fact] = {"scheme": signature.stored.scheme, "pointer": row.pointer}
            yield Hit(facts, (Location(row.file, row.pointer), *context.view.locate(signature, limit=99)))
            return


def _facts(declared: Declared, key: str, beside: Fact, main: Fact) -> dict[str, Fact]:
    return {"file": declared.file, "key": key, "beside": beside, "main": main}
