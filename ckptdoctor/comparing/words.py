"""What B is of A, in words, and only where the tensors say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..model.words import amount
from .nouns import Changed, Difference, Group, Module, renamed

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")
_FAMILIES = {"bnb-nf4": "nf4", "bnb-fp4": "fp4", "bnb-int8": "int8"}
_VOCABULARY = ("embed_tokens", "lm_head", "wte", "word_embeddings", "embed_out", "output")


def words(found: Difference, ours: Mapping[str, Module], theirs: Mapping[str, Module]) -> tuple[str, ...]:
    """Return what B is of A, the most telling first."""
    lone = sum(len(group.names) for group in found.only_left)
    if ours and lone == len(ours):
        return ("B is another model: no module of A is in it",)
    said = [
        *_quantised(found.changed),
        *_cast(found.changed, len(ours)),
        *_sizes(found.changed, len(ours)),
        *_rows(found.changed),
        *_layers(ours, theirs, found.prefix or ("", "")),
    ]
    if found.prefix:
        said.append(f"B names its tensors otherwise: {found.prefix[0]}… of A is {found.prefix[1]}…")
    if not (found.changed or found.only_left or found.only_right or found.prefix):
        said += _layout(found)
    return (*said, *_values(found))


def _quantised(changed: Sequence[Changed]) -> Iterator[str]:
    yield from _packed([(item, item.left, item.right) for item in changed], "A", "B")
    yield from _packed([(item, item.right, item.left) for item in changed], "B", "A")
    other = [c for c in changed if c.left.quantized and c.right.quantized and c.left.scheme != c.right.scheme]
    if other:
        pair = f"{other[0].left.scheme} in A, {other[0].right.scheme} in B"
        yield f"{amount(_count(other), 'module')} quantised otherwise: {pair}"


def _packed(changed: Sequence[tuple[Changed, Module, Module]], source: str, result: str) -> Iterator[str]:
    """Tell dense modules of ``source`` that are quantised in ``result``, where the shapes say the same."""
    schemes: dict[str, int] = {}
    for item, dense, packed in changed:
        if packed.quantized and not dense.quantized and _fits(dense.shape, packed.shape):
            schemes[packed.scheme] = schemes.get(packed.scheme, 0) + len(item.names)
    if schemes:
        what = " and ".join(_FAMILIES.get(scheme, scheme) for scheme in schemes)
        article = "an" if what[:2] in ("nf", "fp", "aw", "in", "mx", "nv") else "a"
        yield f"{result} is {article} {what} of {source}: {amount(sum(schemes.values()), 'module')} quantised"


def _fits(dense: tuple[int | None, int | None] | None, packed: tuple[int | None, int | None] | None) -> bool:
    if dense is None or packed is None:
        return False
    return all(one == two or two is None for one, two in zip(dense, packed, strict=True))


def _cast(changed: Sequence[Changed], total: int) -> Iterator[str]:
    cast: dict[tuple[str, str], int] = {}
    for item in changed:
        if not item.left.quantized and not item.right.quantized and item.left.scheme != item.right.scheme:
            shapes = [[(name, shape) for name, _, shape in side.leaves] for side in (item.left, item.right)]
            if shapes[0] == shapes[1]:
                pair = (item.left.scheme, item.right.scheme)
                cast[pair] = cast.get(pair, 0) + len(item.names)
    for (left, right), count in cast.items():
        whole = count == total
        yield f"B is A in {right}" if whole else f"{amount(count, 'module')} {left} in A and {right} in B"


def _sizes(changed: Sequence[Changed], total: int) -> Iterator[str]:
    """Tell a model of the same kind and of other sizes."""
    other = [c for c in changed if c.left.scheme == c.right.scheme and c.left.shape != c.right.shape]
    if 2 * _count(other) > total:
        yield "B is another model of the same build: most of its weights have other shapes"


def _rows(changed: Sequence[Changed]) -> Iterator[str]:
    """Tell a vocabulary that was resized."""
    found = {
        item.right.shape[0] - item.left.shape[0]
        for item in changed
        if item.template.rpartition(".")[2] in _VOCABULARY
        and item.left.shape and item.right.shape
        and item.left.shape[1] == item.right.shape[1]
        and item.left.shape[0] is not None and item.right.shape[0] is not None
    } - {0}  # fmt: skip
    if len(found) == 1:
        rows = found.pop()
        yield f"B is A with {amount(abs(rows), 'row')} of vocabulary {'more' if rows > 0 else 'less'}"


def _layers(ours: Iterable[str], theirs: Iterable[str], prefix: tuple[str, str]) -> Iterator[str]:
    """Tell layers of a stack that both have, of which one has nothing."""
    left, right = _stacks(renamed(name, prefix) for name in ours), _stacks(theirs)
    for mine, others, side in ((left, right, "A"), (right, left, "B")):
        for stack in sorted(mine.keys() & others.keys()):
            more = mine[stack] - others[stack]
            if more:
                yield f"{side} has {amount(len(more), 'layer')} that the other has not: {_ranges(sorted(more))}"


def _stacks(modules: Iterable[str]) -> dict[str, set[int]]:
    """Return the numbers of the layers of each stack (``model.layers.``)."""
    found: dict[str, set[int]] = {}
    for name in modules:
        if number := _LAYER.search(f"{name}."):
            found.setdefault(name[: number.start(1)], set()).add(int(number[1]))
    return found


def _layout(found: Difference) -> Iterator[str]:
    left, right = len(found.left.files), len(found.right.files)
    if left != right:
        yield f"B is A re-sharded: {amount(left, 'file')} in A, {right:,} in B"
    if found.values is None:
        yield "B has the tensors of A, each with its dtype and shape; --hash compares their values"


def _values(found: Difference) -> Iterator[str]:
    if found.values is None:
        return
    same, other = found.values.counts
    if other == 0:
        yield (
            f"All {amount(same, 'tensor')} that both store alike have the same values"
            if same
            else "No tensor is stored alike"
        )
        return
    yield f"{other:,} of {amount(same + other, 'tensor')} that both store alike have other values"
    if 0 < same <= other:
        still = [group for group in found.values.same if not group.template.endswith("norm.weight")]
        if still:
            yield "never changed: " + ", ".join(_about(group) for group in still[:6])


def _about(group: Group) -> str:
    numbers = sorted({int(m[1]) for name in group.names if (m := _LAYER.search(name))})
    return f"{group.template} (layers {_ranges(numbers)})" if numbers else group.template


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in parts)


def _count(items: Sequence[Changed]) -> int:
    return sum(len(item.names) for item in items)
