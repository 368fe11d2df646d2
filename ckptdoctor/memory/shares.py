"""Which part of every tensor one of several devices holds in vLLM (``layers/linear.py``, ``vocab_parallel_embedding``).

A layer is split along its output or along its input, key and value heads are repeated where there are fewer of them
than devices, norms and routers are whole everywhere. A layer of another name is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..checkpoint.nouns import Signature
from ..loaders.base import Reading
from ..loaders.shared.modules import ROUTERS
from .keeping import devices
from .nouns import Kept

if TYPE_CHECKING:
    from ..loaders.vllm.split_sizes import Sizes

_BY_OUTPUT = frozenset(
    [
        *("q_proj", "q_b_proj", "kv_b_proj"),
        *("gate_proj", "up_proj", "gate_up_proj", "w1", "w3", "fc1", "c_fc", "dense_h_to_4h"),
        *(
            "in_proj",
            "conv1d",
            "in_proj_qkvz",
            "in_proj_ba",
            "in_proj_qkv",
            "in_proj_z",
            "in_proj_b",
            "in_proj_a",
        ),
    ]
)
_BY_INPUT = frozenset(["o_proj", "down_proj", "w2", "fc2", "out_proj", "c_proj", "dense", "dense_4h_to_h"])
_KEYS = frozenset({"k_proj", "v_proj"})
_FUSED = frozenset({"qkv_proj", "c_attn", "query_key_value", "Wqkv"})
_OF_WORDS = frozenset(
    {"embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings", "embeddings"}
)
_WHOLE = frozenset(
    {"q_a_proj", "kv_a_proj_with_mqa", "wpe", "embed_positions", "wg", "moe_statics", *ROUTERS}
)
_OF_STATE = frozenset({"in_proj", "conv1d"})
_BLOCKS = frozenset({"input_linear", "output_linear"})
"""All experts of a layer in one tensor."""
_STATE = frozenset({"A_log", "D", "dt_bias", "A"})
"""Parameters of a state that have one number per head."""
_ONE = frozenset(
    {"weight_shape", "input_scale", "input_global_scale", "weight_global_scale", "weight_scale_2"}
)
"""Parts of a packed weight that do not grow with it."""


class Share(NamedTuple):
    """A part of a whole, as two whole numbers: the module for fractions costs a check more than this one."""

    part: int
    whole: int


class Shares:
    """What one of ``devices`` devices holds."""

    def __init__(self, many: int, sizes: Sizes | None, groups: int = 0) -> None:
        self.devices = many
        self._groups = groups
        self._sizes = sizes
        self._whole, self._part = Share(1, 1), Share(1, many)

    @classmethod
    def of(cls, config: Mapping[str, object], reading: Reading) -> Shares:
        """Return the shares that the option ``tp`` of a target leads to."""
        many = devices(reading)
        if many == 1:
            return cls(1, None)
        from ..loaders.vllm.split_sizes import (
            of_config,  # of no use, and to be imported, where nothing is split
        )

        return cls(many, of_config(config), _groups(config))

    def bits(self, signature: Signature, kept: Sequence[Kept]) -> int | None:
        """Return the bits of one module, None where its way of being split is not known."""
        total = 0
        for item in kept:
            share = self._whole if self.devices == 1 else self._share(signature, item)
            if share is None:
                return None
            total += item.numbers * item.width * share.part // share.whole
        return total

    def _share(self, signature: Signature, item: Kept) -> Share | None:
        template, last = signature.template, signature.template.rpartition(".")[2]
        if template.endswith("experts"):  # blocks of all experts, or a matrix of each in one tensor
            return self._whole if item.leaf.endswith("_bias") and "down" in item.leaf else self._part
        if last in _BLOCKS:
            return self._part
        if not _WHOLE.isdisjoint(template.split(".")[-2:]) or item.leaf in _ONE or item.numbers == 1:
            return self._whole
        if last in _BY_INPUT:
            return self._part if _grows_with_input(signature, item) else self._whole
        if last in _OF_WORDS | _BY_OUTPUT | _KEYS | _FUSED or item.leaf in _STATE:
            return self._by_output(last, item)
        return self._whole if _is_vector(signature, item) else None

    def _by_output(self, last: str, item: Kept) -> Share | None:
        """Return the share of a layer that is split along its output; the order of its inputs is whole."""
        if item.leaf == "g_idx":
            return self._whole
        if last in _OF_STATE and self._groups % self.devices:
            return None  # groups are repeated, each by its own rule
        return self._keys() if last in _KEYS else self._fused() if last in _FUSED else self._part

    def _keys(self) -> Share | None:
        """Keys or values: every device has at least one head of them."""
        if self._sizes is None or not self._sizes.key_heads:
            return None
        heads = self._sizes.key_heads
        return Share(max(1, heads // self.devices), heads)

    def _fused(self) -> Share | None:
        """Queries, keys and values in one."""
        sizes = self._sizes
        if sizes is None or not sizes.key_heads:
            return None
        mine = sizes.heads // self.devices + 2 * max(1, sizes.key_heads // self.devices)
        return Share(mine, sizes.heads + 2 * sizes.key_heads)


def _groups(config: Mapping[str, object]) -> int:
    """Return how many groups share the inputs of a state, 0 where there are none."""
    found = config.get("mamba_n_groups", config.get("n_groups"))
    return found if type(found) is int else 0


def _grows_with_input(signature: Signature, item: Kept) -> bool:
    """Whether a tensor of a layer that is split along its input has a part for each of its columns or groups."""
    if item.leaf in ("bias", "SCB") or item.numbers == 1:
        return False
    if "scale" in item.leaf or "zero" in item.leaf or "zeros" in item.leaf:
        rows = signature.stored.out_features
        return rows is None or item.numbers > rows or _grouped(signature)
    return True


def _grouped(signature: Signature) -> bool:
    stored = signature.stored
    return bool(stored.group and stored.in_features and stored.group < stored.in_features)


def _is_vector(signature: Signature, item: Kept) -> bool:
    leaf = signature.leaf(item.leaf)
    return leaf is not None and len(leaf.shape) < 2
