"""Bytes that follow from config.json and a scheme's numbers, against the bytes of the tensors.

Formulas are written here by hand, one per scheme, and share nothing with ``rules/schemes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod
from typing import NamedTuple

import pytest

from ckptdoctor.checkpoint.dtypes import BITS
from ckptdoctor.checkpoint.nouns import Checkpoint, Signature
from ckptdoctor.sources import open_source
from tests.observe.cases import sound_names
from tests.observe.paths import SOUND
from tests.support.corpus_source import CorpusSource, Row, sound_rows
from tests.support.shipped import load

Formula = Callable[[int, int, int], int]
"""Rows, columns and group size (the columns for one group a row) → bytes."""

FORMULAS: dict[str, Formula] = {
    "bnb-int8": lambda rows, columns, _: rows * columns + 4 * rows + 1,
    "gptq": lambda rows, columns, group: (
        rows * columns // 2 + columns // group * (rows // 2 + 2 * rows) + 4 * columns
    ),
    "awq": lambda rows, columns, group: rows * columns // 2 + columns // group * (rows // 2 + 2 * rows),
    "mlx-affine": lambda rows, columns, group: rows * columns // 2 + 2 * 2 * rows * columns // group,
    "fp8-block": lambda rows, columns, group: rows * columns + 4 * -(-rows // group) * -(-columns // group),
    "mxfp4": lambda rows, columns, _: rows * columns // 2 + rows * columns // 32,
    "mxfp4-packed": lambda rows, columns, _: rows * columns // 2 + rows * columns // 32,
    "mxfp8": lambda rows, columns, _: rows * columns + rows * columns // 32,
    "nvfp4-packed": lambda rows, columns, _: rows * columns // 2 + rows * columns // 16 + 4,
    "nvfp4-modelopt": lambda rows, columns, _: rows * columns // 2 + rows * columns // 16 + 4,
}
PARTLY = {
    "mxfp4": ("gate_up_proj_bias", "down_proj_bias"),
    "nvfp4-packed": ("input_global_scale",),
    "nvfp4-modelopt": ("input_scale", "k_scale", "v_scale"),
    "fp8-block": ("activation_scale",),
}
"""Tensors that are no part of the weight."""
EXACT = {"gptq": 4, "awq": 4, "mlx-affine": 4, "mxfp4-packed": 4}
"""Bits for which a formula holds."""


class Weight(NamedTuple):
    """A quantised module: its scheme, logical size, and bytes on disk."""

    where: str
    scheme: str
    rows: int
    columns: int
    group: int
    stored: int


def weights(ckpt: Checkpoint) -> Iterator[Weight]:
    """Yield the two-dimensional quantised weights that a formula is known for."""
    for signature in ckpt.view(tuple(ckpt.shards)).signatures:
        stored = signature.stored
        if stored.scheme not in FORMULAS or not all(leaf.dtype for leaf in signature.leaves):
            continue
        if not stored.in_features or not stored.out_features:
            continue
        if stored.bits != EXACT.get(stored.scheme, stored.bits):
            continue
        if any(len(leaf.shape) > 2 for leaf in signature.leaves):
            continue
        apart = ("bias", *PARTLY.get(stored.scheme, ()))
        size = sum(
            prod(leaf.shape) * BITS[leaf.dtype] // 8 for leaf in signature.leaves if leaf.name not in apart
        )
        group = stored.group or stored.in_features
        yield Weight(signature.template, stored.scheme, stored.out_features, stored.in_features, group, size)


@pytest.mark.parametrize("name", sound_names())
def test_quantised_modules_of_a_fixture_have_the_bytes_that_follow(name: str) -> None:
    ckpt = load(open_source(str(SOUND / name)))
    wrong = [w for w in weights(ckpt) if FORMULAS[w.scheme](w.rows, w.columns, w.group) != w.stored]
    assert wrong == []


def test_the_fixtures_have_such_modules() -> None:
    found = {w.scheme for name in sound_names() for w in weights(load(open_source(str(SOUND / name))))}
    assert {"bnb-int8", "gptq", "awq", "fp8-block", "nvfp4-packed"} <= found


def scaled(name: str) -> Iterator[tuple[Signature, int]]:
    """Yield the quantised modules of a fixture with the bytes of their tensors, biases apart."""
    ckpt = load(open_source(str(SOUND / name)))
    for signature in ckpt.view(tuple(ckpt.shards)).signatures:
        if signature.stored.quantized:
            leaves = [leaf for leaf in signature.leaves if leaf.name != "bias"]
            yield signature, sum(prod(leaf.shape) * BITS[leaf.dtype] // 8 for leaf in leaves)


def sizes(name: str) -> dict[str, tuple[int, int]]:
    """Return rows and columns of the linear layers that the config of a fixture calls for, by their last name."""
    config = load(open_source(str(SOUND / name))).config
    hidden, inner, heads, few = (
        int(str(config[key]))
        for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    )
    head = int(str(config.get("head_dim") or hidden // heads))
    wide, narrow = (heads * head, hidden), (few * head, hidden)
    found = {"q_proj": wide, "o_proj": wide[::-1], "k_proj": narrow, "v_proj": narrow}
    return found | {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}


FROM_CONFIG: dict[str, Formula] = {
    "mistral-ct-w4a16": lambda rows, columns, group: rows * columns // 2 + 2 * rows * columns // group + 16,
    "qwen2-ct-asym": lambda rows, columns, group: (
        rows * columns // 2 + columns // group * (2 * rows + rows // 2) + 16
    ),
    "mistral-ct-w8a8": lambda rows, columns, _: rows * columns + 2 * rows,
    "mistral-ct-fp8": lambda rows, columns, _: rows * columns + 2 + 2,
    "qwen2-ct-fp8-dynamic": lambda rows, columns, _: rows * columns + 2 * rows,
    "mistral-ct-nvfp4": lambda rows, columns, _: rows * columns // 2 + rows * columns // 16 + 4,
    "mistral-fp8": lambda rows, columns, _: rows * columns + 4 * -(-rows // 32) * -(-columns // 32),
    "mistral-torchao": lambda rows, columns, _: rows * columns + 4 * rows + rows,
}
"""Fixture → bytes of a layer, from the sizes that its config tells and the group that its quantization_config does."""


@pytest.mark.parametrize("name", FROM_CONFIG)
def test_the_config_alone_predicts_the_bytes(name: str) -> None:
    block = load(open_source(str(SOUND / name))).config["quantization_config"]
    text = str(block)
    found = re.search(r"'group_size': (\d+)", text)
    called_for = sizes(name)
    seen = 0
    for signature, stored in scaled(name):
        rows, columns = called_for[signature.template.rpartition(".")[2]]
        group = int(found[1]) if found else columns
        assert FROM_CONFIG[name](rows, columns, group) == stored, signature.template
        seen += signature.count
    assert seen


def nf4(signature: Signature) -> bool:
    """Whether a signature is a bitsandbytes 4-bit weight of known shape."""
    return signature.stored.scheme in ("bnb-nf4", "bnb-fp4") and signature.state is not None


@pytest.mark.parametrize("name", [name for name in sound_names() if "nf4" in name or "fp4" in name])
def test_nf4_has_the_bytes_that_follow_but_for_its_json(name: str) -> None:
    ckpt = load(open_source(str(SOUND / name)))
    for signature in ckpt.view(tuple(ckpt.shards)).signatures:
        if not nf4(signature) or signature.state is None or signature.state.shape is None:
            continue
        numbers = prod(signature.state.shape)
        blocks = -(-numbers // 64)
        scales = blocks + 4 * -(-blocks // 256) + 4 * 256 if signature.state.nested_blocksize else 4 * blocks
        leaves = [leaf for leaf in signature.leaves if ".quant_state." not in leaf.name]
        stored = sum(
            prod(leaf.shape) * BITS[leaf.dtype] // 8 for leaf in leaves if leaf.name.startswith("weight")
        )
        assert stored == numbers // 2 + scales + 4 * 16, signature.template


def test_mxfp4_experts_have_the_bytes_that_follow() -> None:
    ckpt = load(open_source(str(SOUND / "gptoss-mxfp4")))
    config = ckpt.config
    experts, hidden, inner = (
        int(str(config[key])) for key in ("num_local_experts", "hidden_size", "intermediate_size")
    )
    signature = next(s for s in ckpt.view(tuple(ckpt.shards)).signatures if s.template.endswith(".experts"))
    stored = sum(prod(leaf.shape) for leaf in signature.leaves if leaf.name.endswith(("_blocks", "_scales")))
    numbers = experts * hidden * 3 * inner
    assert stored == numbers // 2 + numbers // 32


@pytest.mark.parametrize("row", list(sound_rows()), ids=lambda row: row.slug)
def test_quantised_modules_of_the_corpus_have_the_bytes_that_follow(row: Row) -> None:
    ckpt = load(CorpusSource(row.path), metadata_only=True)
    wrong = [w for w in weights(ckpt) if FORMULAS[w.scheme](w.rows, w.columns, w.group) != w.stored]
    assert wrong == []
