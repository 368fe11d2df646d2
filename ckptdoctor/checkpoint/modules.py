"""Headers → view: tensors joined into modules over all files, modules folded into signatures.

A checkpoint of 91,991 tensors has some twenty signatures, so everything after this works on those. Each tensor costs
a few dictionary look-ups: the set of leaves a module has is a state of an automaton, and a tensor is a step in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..ruledata import Rulebook
from ..schemes.recognise import recognise
from .limits import MAX_KIND_CHARACTERS, MAX_KINDS, beyond
from .names import Templates, is_number, join, split
from .nouns import Checkpoint, Leaf, QuantState, Signature, View
from .quant_state import read_states


def build_view(ckpt: Checkpoint, files: tuple[str, ...]) -> View:
    """Return the view of ``files``, of which later ones win where tensors are repeated.

    Of a file whose header cannot be read the names are taken from an index; their dtypes and shapes are unknown.
    """
    leaf_sets = LeafSets()
    modules: dict[str, int] = {}
    for file in files:
        shard = ckpt.shards.get(file)
        if shard is not None and shard.readable:
            leaf_sets.feed(modules, ((name, t.dtype, t.shape) for name, t in shard.tensors.items()))
        else:
            leaf_sets.feed(modules, ((name, "", ()) for name in indexed(ckpt, file)))
    leaf_sets.settle(modules)
    owner = Owner(ckpt, files)
    states, sampled = read_states(ckpt, owner, _blobs(modules, leaf_sets))
    found = _signatures(modules, leaf_sets, states, ckpt.rulebook)
    if isinstance(found, list):
        view = View(files, found, owner, ckpt.rulebook)
        view.sampled = sampled
        return view
    view = View(files, [], owner, ckpt.rulebook)
    view.beyond = beyond(files[0], *found)
    return view


def indexed(ckpt: Checkpoint, file: str) -> list[str]:
    """Return the tensors that an index assigns to ``file``."""
    for index in ckpt.indexes.values():
        names = index.by_file.get(file)
        if names:
            return names
    return []


_LARGE = 64
"""Leaves from which on a set is no longer a state: each state costs its length, and only hostile files go on."""


class LeafSets:
    """Every distinct set of leaves seen, numbered; 0 is the empty set."""

    def __init__(self) -> None:
        self.leaves: list[tuple[Leaf, ...]] = [()]
        self._numbers: dict[tuple[Leaf, ...], int] = {(): 0}
        self._steps: dict[tuple[int, str, str, tuple[int, ...]], int] = {}
        self._large: list[dict[str, Leaf]] = []
        """Sets that outgrew the automaton, one per module; number -1 is the first."""

    def feed(self, modules: dict[str, int], tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> None:
        """Add ``tensors`` (name, dtype, shape) to ``modules``, which maps a module to the number of its set."""
        steps = self._steps
        for name, dtype, shape in tensors:
            if "weight." in name:
                module, leaf = split(name)
                if leaf.startswith("weight.quant_state."):
                    shape = ()  # its length varies with the digits of an offset: no trait of the module
            else:
                module, _, leaf = name.rpartition(".")
            step = (modules.get(module, 0), leaf, dtype, shape)
            number = steps.get(step)
            if number is None:
                number = self._grow(*step)
                if number > 0:
                    steps[step] = number
            modules[module] = number

    def _grow(self, number: int, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        leaf = Leaf(name, dtype, shape)
        if number >= 0 and len(self.leaves[number]) >= _LARGE:
            self._large.append({known.name: known for known in self.leaves[number]})
            number = -len(self._large)
        if number < 0:
            self._large[-number - 1][name] = leaf
            return number
        return self._number(tuple(sorted([*(o for o in self.leaves[number] if o.name != name), leaf])))

    def _number(self, leaves: tuple[Leaf, ...]) -> int:
        if leaves not in self._numbers:
            self._numbers[leaves] = len(self.leaves)
            self.leaves.append(leaves)
        return self._numbers[leaves]

    def settle(self, modules: dict[str, int]) -> None:
        """Number the large sets too, once ``modules`` is complete."""
        if self._large:
            for module, number in modules.items():
                if number < 0:
                    modules[module] = self._number(tuple(sorted(self._large[-number - 1].values())))


def _signatures(
    modules: Mapping[str, int], leaf_sets: LeafSets, states: Mapping[str, QuantState], rulebook: Rulebook
) -> list[Signature] | tuple[str, int, int]:
    """Return the signatures, or what there is too much of, how much of it and the limit."""
    templates = Templates()
    kinds = characters = 0
    groups: dict[tuple[str, str, int, QuantState | None], list[str]] = {}
    for module, number in modules.items():
        parent, _, last = module.rpartition(".")
        key = (templates.of(parent), "*" if is_number(last) else last, number, states.get(module))
        group = groups.get(key)
        if group is None:
            groups[key] = [module]
            leaves = leaf_sets.leaves[number]
            kinds += len(leaves)
            if kinds > MAX_KINDS:
                return "or more kinds of tensor", kinds, MAX_KINDS
            characters += len(module) + sum(len(leaf.name) for leaf in leaves)
            if characters > MAX_KIND_CHARACTERS:
                return "or more characters in names of different kinds", characters, MAX_KIND_CHARACTERS
        else:
            group.append(module)
    found = []
    for (parent, last, number, state), names in groups.items():
        leaves = leaf_sets.leaves[number]
        found.append(Signature(join(parent, last), leaves, state, recognise(leaves, state, rulebook), names))
    return found


def _blobs(modules: Mapping[str, int], leaf_sets: LeafSets) -> Iterator[tuple[str, Leaf]]:
    """Yield every module that has a bitsandbytes quant_state, with that leaf."""
    with_blob = {
        number: leaf
        for number, leaves in enumerate(leaf_sets.leaves)
        for leaf in leaves
        if ".quant_state." in leaf.name
    }
    if with_blob:
        for module, number in modules.items():
            if number in with_blob:
                yield module, with_blob[number]


class Owner(Mapping[str, str]):
    """Tensor → file it is taken from. Asks the headers; nothing is copied."""

    def __init__(self, ckpt: Checkpoint, files: tuple[str, ...]) -> None:
        self._ckpt = ckpt
        self._files = files
        self._names: dict[str, dict[str, None]] = {}

    def __getitem__(self, tensor: str) -> str:
        for file in reversed(self._files):
            if tensor in self._tensors(file):
                return file
        raise KeyError(tensor)

    def __iter__(self) -> Iterator[str]:
        seen: set[str] = set()
        for file in self._files:
            for tensor in self._tensors(file):
                if tensor not in seen:
                    seen.add(tensor)
                    yield tensor

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _tensors(self, file: str) -> Mapping[str, object]:
        shard = self._ckpt.shards.get(file)
        if shard is not None and shard.readable:
            return shard.tensors
        if file not in self._names:
            self._names[file] = dict.fromkeys(indexed(self._ckpt, file))
        return self._names[file]
