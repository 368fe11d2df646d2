"""The names in a checkpoint that a parameter of vLLM may be loaded from: its mappings, read backwards.

Which of them it *is* loaded from is tried, not concluded (`observe.py`).
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

Model = torch.nn.Module


class Rules(NamedTuple):
    """What one module's ``load_weights`` makes of names below it."""

    at: str
    """The path of the module, empty for the model itself."""
    mappers: list[WeightsMapper]
    stacked: list[tuple[str, str]]
    """(part of a name in vLLM, part of a name in a checkpoint)."""


class Candidate(NamedTuple):
    """A name that a tensor might have in a checkpoint."""

    name: str
    changes: int
    """How many rules lead from it to the parameter."""
    part: bool
    """Whether it is one of several tensors that the parameter is put together from."""


def rules_of(model: Model) -> list[Rules]:
    """Return the rules of every module that loads by itself, the innermost first.

    Mappers are caught while vLLM uses them; lists of ``stacked_params_mapping`` stand in the code of older models.
    """
    seen = _used_mappers(model)
    found = []
    for path, module in model.named_modules():
        loads = getattr(type(module), "load_weights", None)
        mappers = [mapper for owner, mapper in seen if owner is module]
        stacked = list(_stacked(loads.__code__)) if isinstance(loads, types.FunctionType) else []
        if mappers or stacked:
            found.append(Rules(path, mappers, list(dict.fromkeys(stacked))))
    return sorted(found, key=lambda rules: -len(rules.at))


def _used_mappers(model: Model) -> list[tuple[Model, WeightsMapper]]:
    seen: list[tuple[Model, WeightsMapper]] = []
    whole = AutoWeightsLoader.load_weights

    def caught(self: Any, weights: Any, *, mapper: Any = None) -> Any:
        if mapper is not None and not any(mapper is m and self.module is o for o, m in seen):
            seen.append((self.module, mapper))
        return whole(self, weights, mapper=mapper)

    AutoWeightsLoader.load_weights = caught
    try:
        for name, tensor in model.state_dict().items():
            attempt(model, {name: torch.zeros_like(tensor)})
    finally:
        AutoWeightsLoader.load_weights = whole
    return seen


def attempt(model: Model, tensors: dict[str, torch.Tensor]) -> bool:
    """Let vLLM load some tensors; says whether it did not raise."""
    try:
        for _ in model.load_weights(iter(tensors.items())) or ():  # type: ignore[operator]
            pass
    except Exception:
        return False
    return True


def _stacked(code: types.CodeType) -> Iterator[tuple[str, str]]:
    """Every (parameter, weight, shard) among the constants of a function."""
    open_: list[Any] = list(code.co_consts)
    while open_:
        item = open_.pop(0)
        if isinstance(item, types.CodeType):
            open_ += item.co_consts
        elif isinstance(item, tuple):
            if len(item) == 3 and isinstance(item[0], str) and isinstance(item[1], str):
                yield item[0], item[1]
            open_ += [each for each in item if isinstance(each, tuple)]


def candidates(name: str, rules: Sequence[Rules], model: Model) -> list[Candidate]:
    """Return the names that parameter ``name`` may have in a checkpoint, the likeliest first."""
    found = [Candidate(name, 0, False), *_of_experts(name, model)]
    for each in rules:
        at = f"{each.at}." if each.at else ""
        if name.startswith(at):
            found = [
                Candidate(at + other.name, each_found.changes + other.changes, each_found.part or other.part)
                for each_found in found
                for other in _before(each_found.name.removeprefix(at), each)
            ]
    return sorted(dict.fromkeys(found), key=lambda candidate: (not candidate.part, -candidate.changes))


def _before(name: str, rules: Rules) -> Iterator[Candidate]:
    """Every name that a module's rules turn into ``name``."""
    names = [Candidate(name, 0, False)]
    for new, old in rules.stacked:
        names += [Candidate(n, 1, True) for n in _replaced(name, new, old)]
    for mapper in rules.mappers:
        names += [n for each in list(names) for n in _unmapped(each, mapper)]
    yield from dict.fromkeys(names)


def _unmapped(candidate: Candidate, mapper: WeightsMapper) -> Iterator[Candidate]:
    found = [candidate]
    for kind in ("suffix", "prefix", "stacked", "substr"):
        for old, new in getattr(mapper, f"orig_to_new_{kind}").items():
            new = new[0] if isinstance(new, tuple) else new
            if new is None:
                continue
            for each in list(found):
                part = each.part or kind == "stacked"
                others = _at_end(each.name, new, old, kind)
                certain = 1 if new else -1  # whether a dropped word was there, nothing tells
                found += [Candidate(n, each.changes + certain, part) for n in others]
    yield from found[1:]


def _at_end(name: str, new: str, old: str, kind: str) -> list[str]:
    if kind == "prefix":
        return [old + name[len(new) :]] if name.startswith(new) else []
    if kind == "suffix":
        return [name[: len(name) - len(new)] + old] if name.endswith(new) else []
    return _replaced(name, new, old)


def _replaced(name: str, new: str, old: str) -> list[str]:
    """``old`` for ``new`` where it stands for whole words of a name."""
    if not new and old.startswith("."):
        return _with_dropped(name, old)
    if not new or new not in name:
        return []
    before, _, after = name.partition(new)
    whole = (not before or before.endswith(".") or new.startswith(".")) and (
        not after or after.startswith(".") or new.endswith((".", "_"))
    )
    return [before + old + after] if whole else []


def _with_dropped(name: str, word: str) -> list[str]:
    """A word that vLLM drops, after a module with much the same name (`embedding.word_embeddings`)."""
    path, _, leaf = name.rpartition(".")
    alike = any(piece.rstrip("s") in path for piece in re.split(r"[._]", word) if len(piece) > 4)
    return [f"{path}{word}.{leaf}"] if alike else []


def _of_experts(name: str, model: Model) -> Iterator[Candidate]:
    """The parts that a block of experts is put together from, by vLLM's own list."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path) if path else model
    if not hasattr(module, "get_expert_mapping"):
        return
    before, found, _ = path.rpartition("experts")
    before = before.rpartition("experts.")[0] or before if found else path
    for new, old, _, _ in module.get_expert_mapping():
        start = new.rpartition(".")[2]
        if leaf.startswith(start):
            yield Candidate(f"{before}{old}{leaf[len(start) :]}", 1, True)
