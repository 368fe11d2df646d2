"""Scales of an 8-bit key-value cache: declared and absent, there and declared nowhere, or all of them 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from ..checkpoint.names import join
from ..checkpoint.nouns import Declared, Signature
from ..formats.declared import declarations
from ..model import Hit, Location, Skip
from .base import Context, Need, Params, needs

_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "k_scale": ("",),
    "v_scale": ("",),
    "kv_scale": ("",),
    "output_scale": (".k_proj", ".v_proj", ".qkv_proj"),
    "scale": (".k_cache", ".v_cache"),
}
"""Tensor → endings of the modules in which it is such a scale.

``maybe_remap_kv_scale_name`` of
https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/model_loader/weight_utils.py and the mappers of
``fp8.py`` and ``quark.py`` beside it.
"""

_ONES = {"F32": b"\x00\x00\x80\x3f", "BF16": b"\x80\x3f", "F16": b"\x00\x3c"}
_LOOKED_AT = 16
"""Scales that are read: those of eight layers tell whether anybody calibrated."""


def _stored(context: Context) -> Iterator[tuple[Signature, str]]:
    for signature in context.view.signatures:
        for leaf in signature.leaves:
            if _is_scale(signature.template, leaf.name):
                yield signature, leaf.name


def _is_scale(module: str, leaf: str) -> bool:
    return leaf in _ENDINGS and f".{module}".endswith(_ENDINGS[leaf])


def _declared(context: Context) -> Iterator[tuple[Declared, str]]:
    """Yield every declaration of an FP8 cache with calibrated scales, and the key it stands under."""
    for declared in declarations(context.ckpt):
        scheme = declared.block.get("kv_cache_scheme")
        if isinstance(scheme, Mapping) and scheme.get("num_bits") == 8 and scheme.get("dynamic") is not True:
            yield declared, "kv_cache_scheme"
        elif declared.block.get("kv_cache_quant_algo") == "FP8":
            yield declared, "kv_cache_quant_algo"


def _named_elsewhere(context: Context) -> bool:
    """Whether an index names such a scale in a file that is not here."""
    index = context.ckpt.index
    if index is None or all(file in context.view.files for file in index.files):
        return False
    return any(_is_scale(*_halves(name)) for name in index.weight_map)


def _halves(name: str) -> tuple[str, str]:
    module, _, leaf = name.rpartition(".")
    return module, leaf


def missing(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if a calibrated FP8 cache is declared and no tensor is a scale of it."""
    for declared, key in _declared(context):
        if context.view.signatures and not any(_stored(context)) and not _named_elsewhere(context):
            yield Hit({"key": key}, (Location(declared.file, f"{declared.pointer}/{key}"),))
        return


def undeclared(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield the scales of a cache that no declaration makes 8 bits wide."""
    if any(_declares_any(declared) for declared in declarations(context.ckpt)):
        return
    for signature, leaf in _stored(context):
        if leaf == "output_scale":
            continue  # of the layer's output, in other formats
        yield Hit({"leaf": leaf}, context.view.locate(signature, leaf), signature.template, signature.count)


def _declares_any(declared: Declared) -> bool:
    return any(
        declared.block.get(key) for key in ("kv_cache_scheme", "kv_cache_quant_algo", "kv_cache_config")
    )


def _sampled(context: Context) -> Iterator[tuple[str, bytes]]:
    """Yield some scales of one value, with the bytes that mean 1."""
    if not any(_declared(context)):
        return
    for signature, name in islice(_stored(context), _LOOKED_AT):
        leaf = signature.leaf(name)
        one = _ONES.get(leaf.dtype) if leaf else None
        if leaf and one and leaf.shape in ((), (1,)):
            for module in signature.modules[: _LOOKED_AT // 2]:
                yield join(module, name), one


def _wanted(context: Context, params: Params) -> Iterator[Need]:
    for tensor, one in islice(_sampled(context), _LOOKED_AT):
        yield Need(tensor, len(one))


@needs(_wanted)
def all_one(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if every scale that was looked at is exactly 1."""
    wanted = [*islice(_sampled(context), _LOOKED_AT)]
    if not wanted:
        return
    got = [(tensor, context.micro.get(tensor), one) for tensor, one in wanted]
    if any(data is None or len(data) != len(one) for _, data, one in got):
        yield Skip("", "abstained", "the scales of the key-value cache could not be read")
    elif all(data == one for _, data, one in got):
        at = tuple(Location(context.view.owner.get(tensor, ""), tensor=tensor) for tensor, _, _ in got)
        yield Hit({"looked_at": len(got)}, at)
