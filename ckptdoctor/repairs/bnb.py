"""A bitsandbytes ``quantization_config`` that says what the tensors are: written, corrected or dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..checkpoint.names import join
from ..checkpoint.nouns import Checkpoint, Signature, View
from ..formats.bitsandbytes import FLAGS, NAME, SKIPPED, Stored, block, described, states
from ..formats.parts import BUFFERS, has_companions
from ..formats.parts import DENSE as FLOATS
from ..loaders.shared.modules import family, is_mlx
from ..model import Edit, Hit, JsonSet
from ..ruledata import Rulebook
from .base import CONFIG, drop_key, has_key, is_whole, set_key
from .skips import skip_list

_AT = "/quantization_config"
_STORAGE = {"U8": "uint8", "I8": "int8", "BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_DTYPES = ("bfloat16", "float16", "float32")


def stored(ckpt: Checkpoint, view: View) -> Stored | None:
    """Return how the weights are stored, None where a bitsandbytes config (or none) cannot describe them."""
    if not is_whole(ckpt, view):
        return None
    four = [s for s in view.signatures if family(s.stored.scheme) == "bnb-4bit"]
    eight = [s for s in view.signatures if family(s.stored.scheme) == "bnb-8bit"]
    rest = [s for s in view.signatures if s not in four and s not in eight]
    if (four and eight) or not all(_is_dense(signature, ckpt.rulebook) for signature in rest):
        return None
    if eight:
        return Stored(8)
    return _four_bit(four) if four else Stored(0)


def _four_bit(four: Sequence[Signature]) -> Stored:
    """Return how 4-bit weights are stored; what differs between them is left out."""
    kinds = {signature.stored.scheme.removeprefix("bnb-") for signature in four}
    dtypes = {weight.dtype for signature in four if (weight := signature.leaf("weight"))}
    return Stored(
        4,
        kinds.pop() if len(kinds) == 1 else "",
        any(signature.leaf("weight.nested_absmax") for signature in four),
        _STORAGE.get(dtypes.pop(), "") if len(dtypes) == 1 else "",
    )


def _is_dense(signature: Signature, rulebook: Rulebook) -> bool:
    names = [leaf.name for leaf in signature.leaves]
    floats = all(
        leaf.dtype in FLOATS or join(signature.template, leaf.name).endswith(BUFFERS)
        for leaf in signature.leaves
    )
    return floats and not has_companions("weight", names, rulebook)


def declare(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Make the block true: drop it where all is dense, else set method, flags, skip list and what contradicts."""
    memo = view.memo.get("repairs.bnb.declare")
    if not isinstance(memo, tuple):
        memo = view.memo["repairs.bnb.declare"] = tuple(_declare(ckpt, view))
    yield from memo


def _declare(ckpt: Checkpoint, view: View) -> Iterator[Edit]:
    found = stored(ckpt, view)
    if found is None or not ckpt.config or is_mlx(ckpt):
        return
    if not found.bits:
        yield from drop_key(ckpt, CONFIG, _AT)
        return
    given = ckpt.config.get("quantization_config")
    known = given if isinstance(given, dict) else {}
    skipped = skip_list(ckpt, view, known.get(SKIPPED))
    if not any(type(known.get(flag)) is bool for flag in FLAGS) and not states(known, ckpt.rulebook):
        yield from set_key(ckpt, CONFIG, _AT, block(found, skipped, _compute_dtype(ckpt, view)))
        return
    for key, value in _corrected(found, known, skipped, ckpt.rulebook).items():
        if key in known or key == "quant_method" or value:
            yield from set_key(ckpt, CONFIG, f"{_AT}/{key}", value)


def _corrected(
    found: Stored, known: Mapping[str, object], skipped: Sequence[str] | None, rulebook: Rulebook
) -> dict[str, object]:
    """Return the keys of the block ``known`` that tell how the weights are stored, as ``found`` has them."""
    wanted: dict[str, object] = {"load_in_4bit": found.bits == 4, "load_in_8bit": found.bits == 8}
    wanted |= {f"_{flag}": wanted[flag] for flag in FLAGS if f"_{flag}" in known}
    wanted |= {key: value for key, value in described(found).items() if key in known}
    if not states(known, rulebook):
        wanted["quant_method"] = NAME
    if skipped is not None or known.get(SKIPPED) is not None:
        wanted[SKIPPED] = skipped
    return wanted


def drop_leftover(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Drop the block of a checkpoint in which everything is dense."""
    found = stored(ckpt, view)
    if found is not None and not found.bits:
        yield from drop_key(ckpt, CONFIG, _AT)


def _compute_dtype(ckpt: Checkpoint, view: View) -> str:
    """Return the dtype the weights had before they were packed, as the states or config.json have it."""
    states = {signature.state.dtype for signature in view.signatures if signature.state is not None}
    for name in (*states, ckpt.config.get("dtype"), ckpt.config.get("torch_dtype")):
        if isinstance(name, str) and name in _DTYPES:
            return name
    return "float32"


def describe(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the keys that tell type, nesting and storage dtype as the tensors have them."""
    found = stored(ckpt, view)
    given = ckpt.config.get("quantization_config")
    if found is not None and isinstance(given, dict):
        for key, value in described(found).items():
            yield from set_key(ckpt, CONFIG, f"{_AT}/{key}", value)


def booleans(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write ``true`` or ``false`` where a flag is a word or a number that says so."""
    key = str(hit.facts["key"])
    given = ckpt.config.get("quantization_config")
    word = str(given.get(key)).strip().lower() if isinstance(given, dict) else ""
    if word in ("true", "1", "false", "0"):
        yield from set_key(ckpt, CONFIG, f"{_AT}/{key}", word in ("true", "1"))


def threshold(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write ``llm_int8_threshold`` as the float it is meant to be."""
    given = ckpt.config.get("quantization_config")
    value = given.get("llm_int8_threshold") if isinstance(given, dict) else None
    if type(value) is int and abs(value) < 1 << 53:
        yield JsonSet(CONFIG, f"{_AT}/llm_int8_threshold", float(value), (value,))


def drop_null(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Drop a block that is null."""
    if has_key(ckpt, CONFIG, _AT):
        yield from drop_key(ckpt, CONFIG, _AT)
