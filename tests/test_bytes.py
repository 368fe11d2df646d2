"""Bytes that follow from config.json and a scheme's numbers, against the bytes of the tensors.

Formulas are written here by hand, one per scheme, and share nothing with ``rules/schemes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import NamedTuple

import pytest

from ckptdoctor import checkpoint
from ckptdoctor.checkpoint.dtypes import BITS
from ckptdoctor.checkpoint.nouns import Checkpoint, Signature
from ckptdoctor.sources import open_source
from tests.corpus_source import CorpusSource, Row, sound_rows
from tests.observe.cases import sound_names
from tests.observe.paths import SOUND

Formula = Callable[[int, int, int], int]
"""Rows, columns and group size (the columns for one group a row) → bytes."""

FORMULAS: dict[str, Formula] = {
    "bnb-int8": lambda rows, columns, _: rows * columns + 4 * rows + 1,
    "gptq": lambda rows, columns, group: (
        rows * columns // 2 + columns // group * (rows // 2 + 2 * rows) + 4 * columns
    ),
    "awq": lambda rows, columns, group: rows * columns // 2 + columns // group * (rows // 2 + 2 * rows),
    "mlx-affine": lambda rows, columns, group: rows * columns // 2 + 2 * 2 * rows * columns // group,
}
EXACT = 4
"""Bits for which the formulas of the packed schemes hold."""


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
        if stored.scheme != "bnb-int8" and stored.bits != EXACT:
            continue
        if any(len(leaf.shape) > 2 for leaf in signature.leaves):
            continue
        size = sum(
            prod(leaf.shape) * BITS[leaf.dtype] // 8 for leaf in signature.leaves if leaf.name != "bias"
        )
        group = stored.group or stored.in_features
        yield Weight(signature.template, stored.scheme, stored.out_features, stored.in_features, group, size)


@pytest.mark.parametrize("name", sound_names())
def test_quantised_modules_of_a_fixture_have_the_bytes_that_follow(name: str) -> None:
    ckpt = checkpoint.load(open_source(str(SOUND / name)))
    wrong = [w for w in weights(ckpt) if FORMULAS[w.scheme](w.rows, w.columns, w.group) != w.stored]
    assert wrong == []


def test_the_fixtures_have_such_modules() -> None:
    found = {
        w.scheme for name in sound_names() for w in weights(checkpoint.load(open_source(str(SOUND / name))))
    }
    assert {"bnb-int8", "gptq", "awq"} <= found


def nf4(signature: Signature) -> bool:
    """Whether a signature is a bitsandbytes 4-bit weight of known shape."""
    return signature.stored.scheme in ("bnb-nf4", "bnb-fp4") and signature.state is not None


@pytest.mark.parametrize("name", [name for name in sound_names() if "nf4" in name or "fp4" in name])
def test_nf4_has_the_bytes_that_follow_but_for_its_json(name: str) -> None:
    ckpt = checkpoint.load(open_source(str(SOUND / name)))
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
    ckpt = checkpoint.load(open_source(str(SOUND / "gptoss-mxfp4")))
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
    ckpt = checkpoint.load(CorpusSource(row.path), metadata_only=True)
    wrong = [w for w in weights(ckpt) if FORMULAS[w.scheme](w.rows, w.columns, w.group) != w.stored]
    assert wrong == []
