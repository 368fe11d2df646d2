"""Which modules of a base a LoRA config targets, and at which rank: ``inject_adapter`` in PEFT's tuners_utils.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ...skiplists.safe_regex import Expression, UnsafeRegex

_LAYER = r".*?\.[^.]*\.(?P<idx>\d+)\."
_PLAIN = re.compile(r"[\w.\-]*\Z")
ALL_LINEAR = "all-linear"


class Targets(NamedTuple):
    """The part of a LoRA config that picks modules, read as PEFT reads it."""

    names: tuple[str, ...] | None
    """target_modules as a list; None where it is an expression or ``all-linear``."""
    expression: Expression | None
    all_linear: bool
    excluded: tuple[str, ...]
    excluding: Expression | None
    saved: tuple[str, ...]
    """modules_to_save: never targets."""
    layers: frozenset[int] | None
    pattern: tuple[str, ...]
    rank: int
    ranks: tuple[tuple[Expression, int], ...]

    @property
    def everywhere(self) -> bool:
        """Whether a target is one in every layer, at one rank."""
        limited = self.layers is not None or self.excluding is not None
        return not (limited or self.excluded or self.ranks)

    def takes(self, name: str, *, linear: bool = False) -> bool:
        """Whether the module ``name`` (without PEFT's prefix) gets a pair; ``linear``: it is a linear layer."""
        if self.excluding is not None and self.excluding.fullmatch(name):
            return False
        if _listed(name, self.excluded) or any(_inside(name, saved) for saved in self.saved):
            return False
        if self.all_linear:
            return linear
        if self.expression is not None:
            return self.expression.fullmatch(name)
        if self.names is None:
            return False
        return name in self.names or (_listed(name, self.names) and self._in_layers(name))

    def names_it(self, name: str) -> bool:
        """Whether ``name`` is a target by name, exclusions and layer numbers aside."""
        return self.names is not None and _listed(name, self.names)

    def rank_of(self, name: str) -> int:
        """Return the rank PEFT makes the pair of module ``name`` with."""
        return next((rank for pattern, rank in self.ranks if pattern.fullmatch(name)), self.rank)

    def _in_layers(self, name: str) -> bool:
        if self.layers is None:
            return True
        patterns = [rf"(?:^|.*?\.){re.escape(item)}\.(?P<idx>\d+)\." for item in self.pattern] or [_LAYER]
        found = next((match for pattern in patterns if (match := re.match(pattern, name))), None)
        return found is not None and int(found["idx"]) in self.layers


_UNMODELLED = {
    "target_parameters and layer_replication are not modelled": ("target_parameters", "layer_replication"),
    "this variant of LoRA is not modelled": (
        "use_bdlora",
        "trainable_token_indices",
        "alora_invocation_tokens",
    ),
}


def read(config: Mapping[str, object], default: tuple[str, ...] | None) -> Targets | str:
    """Read what a config targets, ``default`` where it names nothing; or say why that cannot be known."""
    targets = config.get("target_modules")
    targets = default if targets is None else targets
    if targets is None:
        return "no target_modules, and PEFT's default for this base is not known"
    for why, keys in _UNMODELLED.items():
        if any(map(config.get, keys)):
            return why
    try:
        return _read(config, targets)
    except (UnsafeRegex, re.error):
        return "an expression in the config is not one that is evaluated here"


def _read(config: Mapping[str, object], targets: object) -> Targets:
    text = targets if isinstance(targets, str) else None
    every = text is not None and text.lower() == ALL_LINEAR
    excluded = config.get("exclude_modules")
    return Targets(
        names=None if text is not None else _strings(targets),
        expression=Expression(text) if text is not None and not every else None,
        all_linear=every,
        excluded=() if isinstance(excluded, str) else _strings(excluded),
        excluding=Expression(excluded) if isinstance(excluded, str) and excluded else None,
        saved=_plain(config.get("modules_to_save")),
        layers=_layers(config.get("layers_to_transform")),
        pattern=_plain(config.get("layers_pattern")),
        rank=_rank(config.get("r", 8)),
        ranks=_ranks(config.get("rank_pattern")),
    )


def _listed(name: str, names: tuple[str, ...]) -> bool:
    return name in names or name.endswith(tuple(f".{item}" for item in names))


def _inside(name: str, module: str) -> bool:
    return f".{name}.".find(f".{module}.") >= 0


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def _plain(value: object) -> tuple[str, ...]:
    """Names that PEFT puts into an expression of its own: those that are no expression themselves."""
    names = (value,) if isinstance(value, str) and value else _strings(value)
    if not all(_PLAIN.match(name) for name in names):
        raise UnsafeRegex("an expression where a name is usual")
    return names


def _layers(value: object) -> frozenset[int] | None:
    if type(value) is int:
        return frozenset([value])
    if not isinstance(value, list) or not value:
        return None
    return frozenset(item for item in value if type(item) is int)  # text equals no layer number


def _rank(value: object) -> int:
    return value if type(value) is int else 0


def _ranks(value: object) -> tuple[tuple[Expression, int], ...]:
    """``get_pattern_key``: the first pattern that matches all of a module's name or an end of it after a dot wins."""
    rows = value.items() if isinstance(value, dict) else ()
    return tuple(
        (Expression(rf"(?:.*\.)?(?:{pattern.removeprefix('^').removesuffix('$')})"), rank)
        for pattern, rank in rows
        if isinstance(pattern, str) and type(rank) is int
    )
