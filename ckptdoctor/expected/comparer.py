"""Expected tensors against stored ones, template by template.

Joined over what real files do: quantised weights stand in for dense ones, experts come one by one or in a block,
older releases carry other prefixes, and files hold buffers that no loader asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from ..checkpoint.nouns import Leaf
from ..formats.parts import BUFFERS, DENSE, has_companions, wholes
from ..ruledata import Rulebook
from .blueprint import Entry, Expected, Fused, starred
from .comparison import Comparison, Mismatch, Missing, Unexpected
from .stored import Index, Indexed, Signed, words

_OLD_NORMS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""What TensorFlow called them. transformers renames these on load (``_fix_state_dict_key_on_load`` of 4.x,
conversion_mapping.py of 5.x), and vLLM's BERT does (``models/bert.py``)."""


class _Use(NamedTuple):
    """Stored tensors (one leaf of one signature) put to one expected template."""

    indexed: Indexed
    leaf: Leaf
    dense: bool
    """The leaf is the tensor itself, in a floating type and without quantisation companions."""


def compare(expected: Expected, stored: Iterable[Signed], rulebook: Rulebook) -> Comparison:
    """Set stored modules against expected templates; cost grows with the names only where they are listed."""
    return _Comparer(expected, rulebook).run(stored)


class _Comparer:
    def __init__(self, expected: Expected, rulebook: Rulebook) -> None:
        self._expected = expected
        self._rulebook = rulebook
        self._known = expected.entries.keys() | expected.fused.keys()
        self._uses: dict[str, list[_Use]] = {}
        self._unexpected: dict[str, int] = {}
        self._products: dict[tuple[tuple[int, ...], ...], frozenset[Index]] = {}
        self._beyond: dict[tuple[str, int], dict[str, int]] = {}
        """Layers past the main stack that a loader may skip on purpose → what of each template they hold."""
        self._bare = self._doubled = False

    def run(self, stored: Iterable[Signed]) -> Comparison:
        for signature in stored:
            self._place(signature)
        mismatched: list[Mismatch] = []
        missing: list[Missing] = []
        total = found = 0
        for entry, absent in self._audit(mismatched):
            total += entry.total
            found += entry.total - len(absent)
            if absent:
                missing.append(Missing(entry.template, tuple(sorted(absent, key=_numerically)), entry.kind))
        self._lost_layers()
        unclear = [row for row in missing if row.kind == "expert" and self._strangers_beside(row.template)]
        return Comparison(
            missing=tuple(row for row in missing if row not in unclear),
            unclear=tuple(unclear),
            unexpected=tuple(Unexpected(*pair) for pair in self._unexpected.items()),
            mismatched=tuple(mismatched),
            expected=total,
            found=found,
            bare=self._bare,
            doubled=self._doubled,
        )

    def _place(self, signature: Signed) -> None:
        """File every leaf of a signature under the expected template it serves."""
        leaves = {leaf.name for leaf in signature.leaves}
        indexed: dict[str, Indexed] = {}
        for leaf in signature.leaves:
            tensor = starred(f"{signature.template}.{leaf.name}" if signature.template else leaf.name)[0]
            if self._ignored(tensor):
                continue
            use = self._resolve(tensor)
            if use is None:
                if leaf.name != "bias" or not has_companions("weight", leaves, self._rulebook):
                    self._add_unexpected(tensor, Indexed(signature, leaf.name).by_index)
                continue
            template, exact = use
            if template not in indexed:
                indexed[template] = Indexed(signature, leaf.name, self._entries(template))
            parameter = template.rpartition(".")[2]
            dense = exact and leaf.dtype in DENSE and not has_companions(parameter, leaves, self._rulebook)
            self._uses.setdefault(template, []).append(_Use(indexed[template], leaf, dense))

    def _entries(self, template: str) -> list[Entry]:
        blocks = self._expected.fused.get(template, ())
        return self._expected.entries.get(template) or [block.entry for block in blocks]

    def _resolve(self, tensor: str) -> tuple[str, bool] | None:
        """The expected template that a stored one serves, and whether it is that very tensor."""
        for candidate in self._spellings(tensor):
            names = (candidate, *wholes(candidate, self._rulebook))
            whole = next((name for name in names if name in self._known), None)
            if whole is not None:
                if prefix := self._expected.prefix:
                    self._bare |= candidate == f"{prefix}.{tensor}"
                    self._doubled |= tensor == f"{prefix}.{candidate}"
                return whole, whole == candidate
        return None

    def _spellings(self, tensor: str) -> Iterator[str]:
        yield tensor
        for old, new in _OLD_NORMS.items():
            if tensor.endswith(old):
                tensor = tensor.removesuffix(old) + new
                yield tensor
        for there, here in self._expected.renamed:
            if tensor == there or tensor.startswith(f"{there}."):
                tensor = here + tensor[len(there) :]
                yield tensor.lstrip(".")
                break
        if prefix := self._expected.prefix:
            yield f"{prefix}.{tensor}"
            if tensor.startswith(f"{prefix}."):
                yield tensor[len(prefix) + 1 :]

    def _ignored(self, tensor: str) -> bool:
        if any(tensor == name or tensor.endswith(f".{name}") for name in BUFFERS):
            return not any(name in self._known for name in self._spellings(tensor))
        return any(
            tensor.startswith(pattern[:-2]) if pattern.endswith("**") else tensor == pattern
            for pattern in self._expected.ignored
        )

    def _audit(self, mismatched: list[Mismatch]) -> Iterator[tuple[Entry, frozenset[Index]]]:
        """Yield every expected entry with the indices that are absent; note wrong shapes and surplus indices."""
        blocks = {t: fused for t, fused in self._expected.fused.items() if t in self._uses}
        in_blocks = {name for fused in blocks.values() for block in fused for name in block.replaces}
        whole = in_blocks - self._uses.keys()
        alone = not in_blocks - whole
        for entry in self._audited_blocks(blocks.values(), mismatched):
            if alone:
                yield entry, self._absent(entry)
        for template, entries in self._expected.entries.items():
            if template in whole:
                continue
            self._surplus(entries)
            for entry in entries:
                self._shapes(entry, mismatched)
                absent = self._absent(entry)
                if absent and template in in_blocks:
                    absent = self._uncovered(absent, template, blocks.values())
                if not absent or not self._tied(template):
                    yield entry, absent

    def _audited_blocks(self, blocks: Iterable[list[Fused]], mismatched: list[Mismatch]) -> Iterator[Entry]:
        """Yield the entries of stored blocks of experts; note wrong shapes and surplus indices."""
        for fused in blocks:
            self._surplus([block.entry for block in fused])
            for block in fused:
                self._shapes(block.entry, mismatched)
                yield block.entry

    def _tied(self, template: str) -> bool:
        """Whether another tensor takes the place of an absent one (of a group all absent, one is missed)."""
        for group in self._expected.tied:
            if template in group:
                stored = [name for name in group if name in self._uses]
                leader = next(name for name in self._expected.entries if name in group)
                return bool(stored) or template != leader
        return False

    def _absent(self, entry: Entry) -> frozenset[Index]:
        uses = self._uses.get(entry.template, ())
        if any(use.indexed.complete for use in uses):
            return frozenset()
        return self._product(entry).difference(*(use.indexed.by_index for use in uses))

    def _uncovered(
        self, absent: frozenset[Index], template: str, blocks: Iterable[list[Fused]]
    ) -> frozenset[Index]:
        inside = [block.entry.template for fused in blocks for block in fused if template in block.replaces]
        present = {index for name in inside for use in self._uses[name] for index in use.indexed.by_index}
        return frozenset(index for index in absent if index[: len(index) - 1] not in present)

    def _surplus(self, entries: list[Entry]) -> None:
        """Count stored indices that no entry asks for as unexpected."""
        template = entries[0].template
        lone = (
            f"{template.rpartition('.')[2]}."  # companions of a packed weight are not asked for by themselves
        )
        uses = [
            use
            for use in self._uses.get(template, ())
            if not use.indexed.complete and not use.leaf.name.startswith(lone)
        ]
        stored = {index for use in uses for index in use.indexed.by_index}
        if stored:
            self._add_unexpected(template, stored.difference(*map(self._product, entries)))

    def _add_unexpected(self, template: str, indices: Collection[Index]) -> None:
        number = 0
        for index in indices:
            layer = self._extra_layer(template, index)
            if layer is None:
                number += 1
            else:
                counts = self._beyond.setdefault(layer, {})
                counts[template] = counts.get(template, 0) + 1
        if number:
            self._unexpected[template] = self._unexpected.get(template, 0) + number

    def _extra_layer(self, template: str, index: Index) -> tuple[str, int] | None:
        for at, first, stop in self._expected.extra_layers:
            if template.startswith(f"{at}.") and first <= int(index[at.count("*") - 1]) < stop:
                return at, int(index[at.count("*") - 1])
        return None

    def _lost_layers(self) -> None:
        """Count a layer past the main stack as unexpected if it is an ordinary one.

        One that predicts further tokens has parts of its own (``eh_proj``, ``enorm``, ``shared_head``).
        """
        for counts in self._beyond.values():
            if counts.keys() <= self._known:
                for template, number in counts.items():
                    self._unexpected[template] = self._unexpected.get(template, 0) + number

    def _shapes(self, entry: Entry, mismatched: list[Mismatch]) -> None:
        if entry.shape is None:
            return
        for use in self._uses.get(entry.template, ()):
            if use.dense and not _fits(entry, tuple(use.leaf.shape)):
                wrong = self._product(entry).intersection(use.indexed.by_index)
                if wrong:
                    module = use.indexed.by_index[min(wrong, key=_numerically)]
                    name = f"{module}.{use.leaf.name}" if module else use.leaf.name
                    got = tuple(use.leaf.shape)
                    mismatched.append(
                        Mismatch(entry.template, name, len(wrong), got, entry.shape, entry.formula)
                    )

    def _product(self, entry: Entry) -> frozenset[Index]:
        if entry.indices not in self._products:
            self._products[entry.indices] = frozenset(words(entry))
        return self._products[entry.indices]

    def _strangers_beside(self, template: str) -> bool:
        """Whether unknown names live in the same block of experts."""
        block = template.partition("experts")[0]
        return any(
            name.startswith(block) for name in self._unexpected if "expert" in name or "switch" in name
        )


def _fits(entry: Entry, shape: tuple[int, ...]) -> bool:
    if shape == entry.shape or entry.shape is None:
        return True
    # Blocks of experts are stored either way round, and loaders turn them by their dimensions.
    return entry.kind == "expert" and len(shape) == 3 and (shape[0], shape[2], shape[1]) == entry.shape


def _numerically(index: Index) -> tuple[int, ...]:
    return tuple(int(number) for number in index)
