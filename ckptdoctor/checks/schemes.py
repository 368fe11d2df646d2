"""The scheme that the config declares against the one that the tensors are stored in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ..checkpoint.declared_scheme import said
from ..checkpoint.nouns import Declared
from ..model import Fact, Hit, Location, Skip
from .base import Context, Params

_OF_METHOD: Mapping[str, frozenset[str]] = {
    "gptq": frozenset({"gptq"}),
    "awq": frozenset({"awq", "awq-gemv", "awq-gemv-fast"}),
    "fp8": frozenset({"fp8", "fp8-block", "fp8-block-native", "mxfp8", "mxfp4", "mxfp4-packed"}),
    "mxfp4": frozenset({"mxfp4", "mxfp4-packed"}),
}
"""Method → the schemes its checkpoints hold. DeepSeek's FP8 has experts in FP4."""
_OF_FORMAT: Mapping[str, frozenset[str]] = {
    "pack-quantized": frozenset({"ct-packed"}),
    "int-quantized": frozenset({"int8"}),
    "naive-quantized": frozenset({"int8", "fp8", "fp8-block"}),
    "float-quantized": frozenset({"fp8", "fp8-block", "mxfp8"}),
    "nvfp4-pack-quantized": frozenset({"nvfp4-packed"}),
    "mxfp4-pack-quantized": frozenset({"mxfp4-packed"}),
    "mxfp8-quantized": frozenset({"mxfp8", "fp8"}),
    "FP8": frozenset({"fp8"}),
    "FP8_PB_WO": frozenset({"fp8", "fp8-block"}),
    "NVFP4": frozenset({"nvfp4-modelopt"}),
    "W4A16_NVFP4": frozenset({"nvfp4-modelopt"}),
}
"""Format of compressed-tensors or algorithm of ModelOpt → the schemes it stores."""


def differs(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if not a single quantised module is stored in a scheme that the config declares."""
    declared = next(context.ckpt.declared(), None)
    wanted = _wanted(declared) if declared is not None else frozenset()
    stored: Counter[str] = Counter()
    for signature in context.view.signatures:
        if signature.stored.quantized:
            stored[signature.stored.scheme] += signature.count
    if declared is None or not wanted or not stored or "" in stored or not wanted.isdisjoint(stored):
        return
    if any(scheme.startswith("bnb-") for scheme in stored):
        return  # told by the models of its loaders
    scheme, count = stored.most_common(1)[0]
    name = _name(declared)
    facts: dict[str, Fact] = {"declared": name, "stored": scheme, "pair": f"{scheme} under {name}"}
    first = next(s for s in context.view.signatures if s.stored.scheme == scheme)
    at = (Location(declared.file, declared.pointer), *context.view.locate(first, limit=99))
    yield Hit(facts, at, "", count)


def _wanted(declared: Declared) -> frozenset[str]:
    told = said(declared)
    if told.varies and declared.method == "compressed-tensors":
        return frozenset()
    return _OF_FORMAT.get(told.format) or _OF_METHOD.get(declared.method, frozenset())


def _name(declared: Declared) -> str:
    told = said(declared)
    return told.format if told.format in _OF_FORMAT else declared.method


_STATIC = frozenset({"FP8", "NVFP4"})
"""Algorithms of ModelOpt whose kernels ask for the scale of the activations."""
_WEIGHTS_ONLY = frozenset({"W4A16_NVFP4", "W4A16_AWQ"})
_SCALED = frozenset({"fp8", "nvfp4-modelopt"})


def activations(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that lack the scale of their activations, or have one, against the declared ModelOpt algorithm.

    Of the other methods the models of the loaders tell.
    """
    declared = next(context.ckpt.declared(), None)
    told = said(declared) if declared is not None else None
    if declared is None or told is None or told.format not in _STATIC | _WEIGHTS_ONLY:
        return
    if declared.block.get("with_input_scale") is False or _weights_only(declared):
        return
    for signature in context.view.signatures:
        if signature.stored.scheme not in _SCALED or not signature.leaves[0].dtype:
            continue
        has = signature.leaf("input_scale") is not None
        if has is not (told.format in _STATIC):
            facts: dict[str, Fact] = {"algorithm": told.format, "what": "an" if has else "no"}
            at = (
                *context.view.locate(signature, "weight", limit=99),
                Location(declared.file, declared.pointer),
            )
            yield Hit(facts, at, signature.template, signature.count)


def _weights_only(declared: Declared) -> bool:
    """Whether every group says that activations stay as they are."""
    groups = declared.block.get("config_groups")
    rows = list(groups.values()) if isinstance(groups, dict) else []
    return bool(rows) and all(isinstance(row, dict) and row.get("input_activations") is None for row in rows)
