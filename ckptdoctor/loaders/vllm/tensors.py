"""What vLLM's weight loaders do about tensors of another name or size, whatever the method."""

from __future__ import annotations

from ...expected.comparison import Mismatch, Missing
from ...model import Outcome
from .. import facts
from ..shared.modules import Architecture
from .run import VllmRun


def siblings_present(row: Missing, run: VllmRun) -> bool:
    """Whether another part of the same fused layer is there for one of the missing tensors.

    A fused parameter counts as loaded when any of its parts is (``default_loader.track_weights_loading``).
    """
    module, _, leaf = row.template.rpartition(".")
    parent, _, last = module.rpartition(".")
    parts = next((parts for _, parts in facts.groups(run.data) if last in parts), ())
    found = run.known.comparison
    lost = {other.template: set(other.indices) for other in found.missing} if found else {}
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


def narrowed(row: Mismatch, known: Architecture) -> Outcome:
    """A rank takes its share by ``narrow`` (``parameter.py``): what is beyond the expected size is cut off.

    Everything else raises. Where every layer of that size is cut, config.json is at fault and values are lost. A
    single larger tensor may as well be padded, which cannot be told from its shape.
    """
    module, _, leaf = row.template.rpartition(".")
    last = module.rpartition(".")[2]
    dim = _SHARDED.get(last)
    if dim is None or len(row.got) != len(row.expected) or (leaf != "weight" and dim):
        return "fails"
    others = [i for i in range(len(row.got)) if i != dim]
    if row.got[dim] <= row.expected[dim] or any(row.got[i] != row.expected[i] for i in others):
        return "fails"
    cut = (
        {other.template.split(".")[-2] for other in known.comparison.mismatched}
        if known.comparison
        else set()
    )
    return "corrupt" if any(last in group and len(cut & group) > 1 for group in _PARTNERS) else "unknown"


KV_SCALES = ("k_scale", "v_scale", "q_scale", "kv_scale")
"""Scales of the cache: their names are mapped, and dropped where nothing asks for them."""
CACHE_SCALES = tuple(f".{name}" for name in (*KV_SCALES, "k_zero_point", "v_zero_point", "q_zero_point"))
"""Endings that go to the attention layer, or are dropped: ``maybe_remap_kv_scale_name`` of
model_loader/weight_utils.py, later ``get_cache_scale_mapper`` of the quantisation method."""
