"""What vLLM does about tensors that are missing, misshapen or in excess: its weight loaders and their tracking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...checkpoint.companions import DENSE as DTYPES
from ...checkpoint.companions import wholes
from ...checkpoint.nouns import View
from ...expected.comparison import Mismatch, Missing
from ...model import Outcome, Target
from ..base import Event
from ..shared import facts
from ..shared.modules import ROUTERS, Architecture, family
from .files import BNB

Data = Mapping[str, object]


def outcome_of_missing(
    row: Missing,
    known: Architecture,
    method: str,
    skipped: Callable[[str], bool],
    target: Target,
    data: Data,
) -> Outcome:
    """Say what missing tensors of one template cost.

    A fused parameter counts as loaded when any of its parts is. Norms are always missed; linear layers, embeddings and
    the head silently keep what was in memory (≥ 0.21), in quantised models everything does (any version).
    """
    partial = _siblings_present(row, known, data)
    if method == BNB:
        return "corrupt" if partial and (row.kind == "bias" or all(map(skipped, row.names))) else "fails"
    if method or partial:
        return "corrupt"
    silent = facts.does(data, "missing-linear-is-silent", target.version)
    router = row.template.removesuffix(".weight").rpartition(".")[2] in ROUTERS
    return (
        "corrupt"
        if silent and (router or row.kind in ("linear", "bias", "embedding", "head", "expert"))
        else "fails"
    )


def _siblings_present(row: Missing, known: Architecture, data: Data) -> bool:
    """Whether another part of the same fused group is there for one of the missing tensors."""
    module, _, leaf = row.template.rpartition(".")
    parent, _, last = module.rpartition(".")
    parts = next((parts for _, parts in facts.groups(data) if last in parts), ())
    lost = {r.template: set(r.indices) for r in known.comparison.missing} if known.comparison else {}
    others = [lost.get(f"{parent}.{part}.{leaf}", set()) for part in parts if part != last]
    return any(index not in other for other in others for index in row.indices)


_SHARDED = {"o_proj": 1, "down_proj": 1} | dict.fromkeys(
    ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"), 0
)
"""The dimension along which a linear layer is split over devices (parameter.py: load_…_parallel_weight)."""


_PARTNERS = (
    {"q_proj", "qkv_proj", "o_proj"},
    {"k_proj", "v_proj", "qkv_proj"},
    {"gate_proj", "up_proj", "gate_up_proj", "down_proj"},
)
"""Layers whose sizes come from the same key of config.json."""


def outcome_of_mismatch(
    row: Mismatch, known: Architecture, method: str, skipped: Callable[[str], bool]
) -> Outcome:
    """A rank takes its share by ``narrow``: what is beyond the expected size is cut off, everything else raises.

    Where every layer of that size is cut, config.json is at fault and values are lost. A single larger tensor may as
    well be padded, which cannot be told from its shape. What bitsandbytes quantises on load keeps its own shape.
    """
    if ".experts." in row.template:
        return "fails"
    module, _, leaf = row.template.rpartition(".")
    if len(row.got) != len(row.expected):
        return "fails"
    if method == BNB and module.endswith("_proj") and leaf == "weight" and not skipped(row.name):
        return "fails-late"
    dim = _SHARDED.get(module.rpartition(".")[2])
    if dim is None or (leaf != "weight" and dim):
        return "fails"
    others = [i for i in range(len(row.got)) if i != dim]
    cut = row.got[dim] > row.expected[dim] and all(row.got[i] == row.expected[i] for i in others)
    if not cut:
        return "fails"
    last = module.rpartition(".")[2]
    others_cut = (
        {r.template.split(".")[-2] for r in known.comparison.mismatched} if known.comparison else set()
    )
    return (
        "corrupt" if any(last in group and len(others_cut & group) > 1 for group in _PARTNERS) else "unknown"
    )


def outcome_of_unexpected(
    template: str, method: str, dropped: Callable[[str], bool], target: Target, data: Data, *, eight: bool
) -> Outcome:
    """A tensor without a place raises, unless it is a bias, a rotary table, taken for part of a packed weight, or its
    model passes over it.
    """
    if template.endswith((".bias", "rotary_emb.inv_freq")) or dropped(template):
        return "ok"
    if template.endswith(_CACHE):
        if method or facts.does(data, "cache-scales-are-mapped", target.version):
            return "ok"
        return "fails" if facts.does(data, "cache-scales-need-a-method", target.version) else "unknown"
    return "ok" if method == BNB and _taken(template, eight=eight) else "fails"


_COMPANIONS_4BIT = ("absmax", "quant_map", "bitsandbytes")
_COMPANIONS_8BIT = (".scb", ".weight_format")


_KV_SCALES = ("k_scale", "v_scale", "q_scale", "kv_scale")
"""Scales of the cache: their names are mapped, and dropped where nothing asks for them."""
_CACHE = tuple(f".{name}" for name in (*_KV_SCALES, "k_zero_point", "v_zero_point", "q_zero_point"))
"""Endings that go to the attention layer, or are dropped: ``maybe_remap_kv_scale_name`` of
model_loader/weight_utils.py, later ``get_cache_scale_mapper`` of the quantisation method."""


def _taken(name: str, *, eight: bool) -> bool:
    """Whether the bitsandbytes loader takes a tensor for part of a packed weight, by its name alone."""
    if eight:
        return name.lower().endswith(_COMPANIONS_8BIT)
    return any(word in name.rpartition(".")[2] for word in _COMPANIONS_4BIT)


def stray_companions(view: View, method: str, *, eight: bool) -> Iterator[Event]:
    """Yield parts of packed weights that have no place: the model is asked to load them as parameters, and refuses.

    The bitsandbytes loader takes companions of 4-bit weights by a word in the last part of their name, those of 8-bit
    weights by their ending (``_is_4bit_weight_name``, ``_is_8bit_weight_name``).
    """
    for signature in view.signatures:
        weight = signature.leaf("weight")
        if family(signature.stored.scheme) == ("bnb-4bit" if eight else "bnb-8bit"):
            continue  # read as what it is not: told as a disagreement
        dense = weight is not None and weight.dtype in DTYPES
        for leaf in signature.leaves:
            name = f"{signature.template}.{leaf.name}"
            if dense and method == BNB and eight and leaf.name == "SCB":
                at = view.locate(signature, "weight")
                yield Event("dense-with-scales", "corrupt", {}, at, signature.template, signature.count)
            part = leaf.name.startswith("weight.") and method == BNB
            stray = (
                (dense or method == BNB)
                and leaf.name not in _KV_SCALES
                and "_.weight" in wholes(f"_.{leaf.name}")
            )
            if (part or stray) and not (method == BNB and _taken(name, eight=eight)):
                error = "AttributeError: `weight` is not an nn.Module" if part else None
                at = view.locate(signature, leaf.name)
                yield Event("unexpected-tensor", "fails", {}, at, name, signature.count, error=error)
