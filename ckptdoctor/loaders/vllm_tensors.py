"""What vLLM does about tensors that are missing, misshapen or in excess: its weight loaders and their tracking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..checkpoint.comparison import Mismatch, Missing
from ..checkpoint.nouns import View
from ..model import Outcome, Target
from . import facts
from .base import Event
from .modules import ROUTERS, Architecture
from .vllm_files import BNB

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


def outcome_of_mismatch(row: Mismatch) -> Outcome:
    """A rank takes its share by ``narrow``: what is beyond the expected size is cut off, everything else raises."""
    module, _, leaf = row.template.rpartition(".")
    dim = _SHARDED.get(module.rpartition(".")[2])
    if dim is None or (leaf != "weight" and dim) or len(row.got) != len(row.expected):
        return "fails"
    others = [i for i in range(len(row.got)) if i != dim]
    cut = row.got[dim] > row.expected[dim] and all(row.got[i] == row.expected[i] for i in others)
    return "corrupt" if cut else "fails"


def outcome_of_unexpected(dropped: Callable[[str], bool]) -> Callable[[str], Outcome]:
    """A tensor without a place raises, unless it is a bias or a rotary table, or its model passes over it."""
    harmless = (".bias", "rotary_emb.inv_freq")
    return lambda tensor: "ok" if tensor.endswith(harmless) or dropped(tensor) else "fails"


_COMPANIONS_4BIT = ("absmax", "quant_map", "bitsandbytes")
_COMPANIONS_8BIT = (".scb", ".weight_format")


def stray_companions(view: View, *, eight: bool) -> Iterator[Event]:
    """Yield parts of packed weights that the bitsandbytes loader does not take for such, and so wants to load.

    4-bit companions are known by a word in the last part of their name, those of 8-bit weights by their ending
    (``_is_4bit_weight_name``, ``_is_8bit_weight_name``).
    """
    for signature in view.signatures:
        for leaf in signature.leaves:
            if not leaf.name.startswith("weight."):
                continue
            last = leaf.name.rpartition(".")[2]
            taken = (
                f".{last.lower()}".endswith(_COMPANIONS_8BIT)
                if eight
                else any(word in last for word in _COMPANIONS_4BIT)
            )
            if not taken:
                at = view.locate(signature, leaf.name)
                name = f"{signature.template}.{leaf.name}"
                error = "AttributeError: `weight` is not an nn.Module"
                yield Event("unexpected-tensor", "fails", {}, at, name, signature.count, error=error)
