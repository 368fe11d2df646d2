"""What vLLM takes out of a checkpoint for a configuration, seen by letting it load.

Every parameter starts at zero. A name belongs to it if vLLM, given a tensor of that name, writes each of its numbers
into places that were zero; a configuration is observed once all parameters are filled and nothing was written twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

from ckptdoctor.expected.blueprint import starred

from .names import Candidate, Model, Rules, attempt, candidates, rules_of

Shape = tuple[int, ...]


class Unloadable(Exception):
    """No name was found under which vLLM fills a parameter."""


class Loaded(NamedTuple):
    """The tensors of a checkpoint that fill a model."""

    shapes: dict[str, Shape]
    kinds: dict[str, str]
    tied: dict[str, str]
    """An alias of a parameter, with the name that is loaded."""
    dropped: list[str]
    """Prefixes of names that vLLM passes over."""
    renamed: dict[str, str]
    """Templates that vLLM takes as well, with the template that stands for them here."""


class Names:
    """What was learned of one class: which names lead to a parameter (by template), and what is there twice."""

    def __init__(self, untied: Model) -> None:
        self._rules: list[Rules] = rules_of(untied)
        self._doubles = {alias for alias, _ in _aliases(untied)}
        self._chosen: dict[str, list[str]] = {}
        self._others: dict[str, str] = {}

    def loaded(self, model: Model) -> Loaded:
        """Try names until ``model`` is filled; raises Unloadable."""
        aliases = dict(_aliases(model))
        found: dict[str, Shape] = {}
        owners: dict[str, str] = {}
        for name, tensor in _state(model).items():
            if name in aliases or name in self._doubles:
                continue
            for other, shape in self._fill(model, name, tensor):
                found[other] = shape
                owners[other] = name
        self._whole(model, found)
        tied = {
            self._name(model, alias): self._name(model, name)
            for alias, name in aliases.items()
            if alias not in self._doubles and isinstance(_owner(model, alias), VocabParallelEmbedding)
        }
        kinds = {other: _kind(model, name) for other, name in owners.items()}
        for alias, name in tied.items():
            found[alias] = found[name]
            kinds[alias] = "head"
        return Loaded(found, kinds, tied, self._dropped(), self._others)

    def _fill(self, model: Model, name: str, tensor: torch.Tensor) -> Iterator[tuple[str, Shape]]:
        """Yield the tensors that one parameter is loaded from."""
        template = starred(name)[0]
        tries = candidates(name, self._rules, model)
        known = self._chosen.get(template)
        if known is not None:
            tries = [each for each in tries if starred(each.name)[0] in known]
        chosen: dict[str, None] = {}
        for each in tries:
            shape = self._accepted(model, each, name, tensor)
            if shape is not None:
                chosen[starred(each.name)[0]] = None
                yield each.name, shape
            if _full(model, name, tensor):
                break
        else:
            raise Unloadable(f"{name} {tuple(tensor.shape)}: tried {[each.name for each in tries][:8]}")
        if known is None:
            self._chosen[template] = list(chosen)
            if len(chosen) == 1:
                self._try_others(model, tries, next(iter(chosen)), name, tensor)

    def _try_others(
        self, model: Model, tries: list[Candidate], chosen: str, name: str, tensor: torch.Tensor
    ) -> None:
        """Learn under which further names a parameter may be stored."""
        for each in tries:
            other = starred(each.name)[0]
            if other != chosen and other not in self._others:
                tensor.zero_()
                if self._accepted(model, each, name, tensor) and _full(model, name, tensor):
                    self._others[other] = chosen
        tensor.fill_(0.5)

    def _accepted(self, model: Model, each: Candidate, name: str, tensor: torch.Tensor) -> Shape | None:
        """The shape in which a tensor of this name goes into the empty places of a parameter, None if it does not."""
        before = tensor != 0
        for shape in _shapes(model, name, tuple(tensor.shape), each.part):
            size = torch.Size(shape).numel()
            loads = attempt(model, {each.name: torch.full(shape, 0.5)})
            if loads and int(torch.count_nonzero(tensor)) - int(before.sum()) == size:
                return shape
            tensor.mul_(before)
        return None

    def _whole(self, model: Model, shapes: dict[str, Shape]) -> None:
        """Load everything at once, as a checkpoint would be: nothing may be left empty or be written twice."""
        state = _state(model)
        for tensor in state.values():
            tensor.zero_()
        if not attempt(model, {name: torch.full(shape, 0.5) for name, shape in shapes.items()}):
            raise Unloadable("vLLM does not load all names together")
        once = {tensor.data_ptr(): (name, tensor) for name, tensor in reversed(state.items())}
        for name, tensor in once.values():
            if not _full(model, name, tensor):
                raise Unloadable(f"{name} stays empty")
        written = sum(int(torch.count_nonzero(tensor)) for _, tensor in once.values())
        if written != sum(torch.Size(shape).numel() for shape in shapes.values()):
            raise Unloadable("some numbers are written twice, or nowhere")

    def _name(self, model: Model, name: str) -> str:
        known = self._chosen.get(starred(name)[0])
        tries = [each.name for each in candidates(name, self._rules, model) if not each.part]
        return next((each for each in tries if known is None or starred(each)[0] in known), tries[0])

    def _dropped(self) -> list[str]:
        return sorted(
            {
                old
                for rules in self._rules
                for mapper in rules.mappers
                for old, new in mapper.orig_to_new_prefix.items()
                if new is None and not rules.at
            }
        )


def _state(model: Model) -> dict[str, torch.Tensor]:
    """Parameters and saved buffers; scales of a cache (``_k_scale``) are its own matter."""
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.rpartition(".")[2].startswith("_")}


def _aliases(model: Model) -> Iterator[tuple[str, str]]:
    """Names of parameters that share their numbers with an earlier one."""
    first: dict[int, str] = {}
    for name, tensor in _state(model).items():
        if tensor.numel() and first.setdefault(tensor.data_ptr(), name) != name:
            yield name, first[tensor.data_ptr()]


def _owner(model: Model, name: str) -> Model:
    return model.get_submodule(name.rpartition(".")[0])


def _full(model: Model, name: str, tensor: torch.Tensor) -> bool:
    """Whether every number is set; rows that only round up a vocabulary may stay empty."""
    module = _owner(model, name)
    if isinstance(module, VocabParallelEmbedding):
        tensor = tensor[: module.org_vocab_size]
    return bool((tensor != 0).all())


def _shapes(model: Model, name: str, whole: Shape, part: bool) -> Iterator[Shape]:
    """The shapes that a tensor may have to go into a parameter, or into a part of it.

    The larger first: a block of experts takes smaller ones too, and leaves the rest as it was.
    """
    module = _owner(model, name)
    if not part:
        if isinstance(module, VocabParallelEmbedding):
            yield (module.org_vocab_size, *whole[1:])
        yield whole
        if 1 in whole:
            yield tuple(size for size in whole if size != 1)
        yield (whole[0], 1, *whole[1:])
        return
    yield from ((size, *whole[1:]) for size in dict.fromkeys(getattr(module, "output_sizes", ())))
    if len(whole) == 3:
        yield from (whole[1:], (whole[1] // 2, whole[2]))
    yield from (whole, (whole[0] // 2, *whole[1:]))


def _kind(model: Model, name: str) -> str:
    module, leaf = _owner(model, name), name.rpartition(".")[2]
    words = [each.__name__ for each in type(module).__mro__]
    if "RoutedExperts" in words:
        return "expert"
    if leaf.endswith("bias"):
        return "bias"
    if "ParallelLMHead" in words:
        return "head"
    if "VocabParallelEmbedding" in words or "Embedding" in words:
        return "embedding"
    if any("Norm" in word for word in words):
        return "norm"
    return "linear" if {"LinearBase", "Linear"} & set(words) else "other"
