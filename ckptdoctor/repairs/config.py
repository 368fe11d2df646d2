"""Keys of config.json that the tensors beside it contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

from ..checkpoint.nouns import Checkpoint, View
from ..loaders.shared.modules import architecture
from ..model import Edit, Hit
from .base import CONFIG, drop_key, has_key, is_whole, member, set_key, value_at

_TIE = "/tie_word_embeddings"
_INNER_TIE = "/text_config/tie_word_embeddings"
_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}


def tie(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Tie the head to the embedding, which is stored alone."""
    stored = {signature.template for signature in view.signatures}
    heads = any(name.rpartition(".")[2] == "lm_head" for name in stored)
    embedded = any(name.rpartition(".")[2] == "embed_tokens" for name in stored)
    listed = ckpt.index is not None and any(name.endswith("lm_head.weight") for name in ckpt.index.weight_map)
    if is_whole(ckpt, view) and embedded and not heads and not listed:
        yield from _set_tie(ckpt, True)


def untie(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Untie a head that is stored and is another than the embedding."""
    yield from _set_tie(ckpt, False)


def _set_tie(ckpt: Checkpoint, tied: bool) -> Iterator[Edit]:
    nested = has_key(ckpt, CONFIG, _INNER_TIE)
    if has_key(ckpt, CONFIG, _TIE) or not nested:
        yield from set_key(ckpt, CONFIG, _TIE, tied)
    if nested:
        yield from set_key(ckpt, CONFIG, _INNER_TIE, tied)


def vocabulary(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Set ``vocab_size`` to the rows of embedding and head, where that is all the shapes contradict."""
    known = architecture(ckpt, view)
    if known.expected is None or known.comparison is None or not is_whole(ckpt, view):
        return
    rows: set[int] = set()
    for template, entries in known.expected.entries.items():
        if entries[0].kind in ("embedding", "head") and "vocab_size" in entries[0].formula:
            rows |= _rows(view, template)
    others = [row for row in known.comparison.mismatched if "vocab_size" not in row.formula]
    columns = all(row.got[1:] == row.expected[1:] for row in known.comparison.mismatched)
    if len(rows) == 1 and not others and columns:
        nested = has_key(ckpt, CONFIG, "/text_config/vocab_size")
        yield from set_key(ckpt, CONFIG, "/text_config/vocab_size" if nested else "/vocab_size", rows.pop())


def _rows(view: View, template: str) -> set[int]:
    module = template.removesuffix(".weight")
    leaves = [signature.leaf("weight") for signature in view.templates.get(module, ())]
    return {leaf.shape[0] for leaf in leaves if leaf is not None and leaf.shape}


def dtype(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Name the dtype that most matrices are stored in, where their sizes bear it out."""
    if any(found.code == "size-mismatch" for found in ckpt.defects):
        return
    sizes: Counter[str] = Counter()
    for signature in view.signatures:
        for leaf in signature.leaves:
            if len(leaf.shape) > 1:
                sizes[leaf.dtype] += prod(leaf.shape) * signature.count
    most = max(sizes, key=sizes.__getitem__, default="")
    name = _NAMES.get(most)
    for key in ("dtype", "torch_dtype"):
        if name and has_key(ckpt, CONFIG, member(key)):
            yield from set_key(ckpt, CONFIG, member(key), name)


def null_dtype(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the same dtype under both names."""
    yield from set_key(ckpt, CONFIG, member(str(hit.facts["key"])), ckpt.config[str(hit.facts["other"])])


def model_type(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the ``model_type`` that the named architecture belongs to, where there is one only."""
    names = ckpt.config.get("architectures")
    first: object = names[0] if isinstance(names, list) and len(names) == 1 else None
    blueprint = ckpt.rulebook.architecture(first) if isinstance(first, str) else None
    kinds: list[str] = list(blueprint["model_types"]) if blueprint else []
    if len(kinds) == 1:
        yield from set_key(ckpt, CONFIG, "/model_type", kinds[0])


def with_head(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Name the causal class of the same family, where the stored tensors are all that it asks for."""
    name = str(hit.facts["name"]).removesuffix("Model") + "ForCausalLM"
    blueprint = ckpt.rulebook.architecture(name)
    if blueprint is not None and ckpt.config.get("model_type") in blueprint["model_types"]:
        yield from set_key(ckpt, CONFIG, "/architectures", [name])


def both_names(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Write the value under the name that this version reads as well."""
    yield from set_key(ckpt, CONFIG, member(str(hit.facts["reads"])), ckpt.config[str(hit.facts["key"])])


def hoist_text_config(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Move the keys of ``text_config`` to the root, where none is there with another value."""
    inner = ckpt.config.get("text_config")
    if not isinstance(inner, dict):
        return
    if any(key in ckpt.config and ckpt.config[key] != value for key, value in inner.items()):
        return
    for key, value in inner.items():
        yield from set_key(ckpt, CONFIG, member(key), value)
    yield from drop_key(ckpt, CONFIG, "/text_config")


def layers(ckpt: Checkpoint, view: View, hit: Hit) -> Iterator[Edit]:
    """Count the layers that are stored, where the list of their kinds in config.json agrees with the files.

    A count that stands alone against the files may as well be right, and the last layers lost.
    """
    at = "/text_config" if has_key(ckpt, CONFIG, "/text_config/num_hidden_layers") else ""
    kinds = value_at(ckpt, CONFIG, f"{at}/layer_types")
    found = _stacked(view)
    if is_whole(ckpt, view) and isinstance(kinds, list) and len(kinds) == len(found) > 1:
        last = found[len(found) - 1]
        if any(found[number] == last for number in range(len(found) - 1)):
            yield from set_key(ckpt, CONFIG, f"{at}/num_hidden_layers", len(found))


def _stacked(view: View) -> dict[int, frozenset[str]]:
    """Return layer number → names below it for the only stack of layers; empty if there are several, or holes."""
    stacks: dict[str, dict[int, set[str]]] = {}
    for signature in view.signatures:
        head, star, tail = signature.template.partition(".layers.*")
        if not star:
            continue
        at = head.count(".") + 2
        for module in signature.modules:
            layer = stacks.setdefault(head, {}).setdefault(int(module.split(".", at + 1)[at]), set())
            layer.update(f"{tail}.{leaf.name}" for leaf in signature.leaves)
    numbers = next(iter(stacks.values()), {}) if len(stacks) == 1 else {}
    whole = sorted(numbers) == list(range(len(numbers)))
    return {number: frozenset(names) for number, names in numbers.items()} if whole else {}
