"""What an architecture expects to find in its files, computed from config.json alone.

A blueprint is plain data (`rules/architectures/*.yaml`, written by `scripts/architectures.py` out of a real
transformers installation). It lists name templates with shapes as formulas over configuration keys. Evaluating
one costs time in proportion to the number of templates, whatever the number of layers or experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .formula import Unknowable
from .keys import Keys

Plain = Mapping[str, Any]

_INDEX = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
_LARGEST_COUNT = 1 << 22


class Entry(NamedTuple):
    """One expected tensor per combination of `indices` in `template` (one collection per `*`)."""

    template: str
    indices: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...] | None
    """None where the rulebook does not know the shape."""
    formula: str
    kind: str
    """linear, expert, embedding, head, norm, bias or other."""

    @property
    def total(self) -> int:
        """How many tensors this entry stands for."""
        product = 1
        for choices in self.indices:
            product *= len(choices)
        return product


class Fused(NamedTuple):
    """A tensor that stands for several entries at once (all experts of a layer in one block)."""

    entry: Entry
    replaces: tuple[str, ...]


class Gap(str):
    """Why nothing can be expected; ``key`` and ``fault`` where a number is to blame (see ``Unknowable``)."""

    key = ""
    fault = ""


class Expected(NamedTuple):
    """Everything one configuration calls for, by template."""

    architecture: str
    entries: dict[str, list[Entry]]
    fused: dict[str, list[Fused]]
    tied: tuple[frozenset[str], ...]
    """Groups of which one member is enough."""
    ignored: tuple[str, ...]
    """Stored name templates (a trailing `**` matches any rest) that the loader drops without a word."""
    renamed: tuple[tuple[str, str], ...]
    """Prefixes that other releases use, with the prefix used here; longest first."""
    prefix: str
    """The prefix that a file saved from the bare base model lacks; empty if none."""
    extra_layers: tuple[tuple[str, int, int], ...]
    """`(prefix template, first, stop)`: indices past the main stack that a loader skips on purpose."""
    source: str = ""
    """The package and version that this was read off."""

    @property
    def total(self) -> int:
        """How many tensors are expected, counting every tied group once."""
        counted = sum(entry.total for entries in self.entries.values() for entry in entries)
        tied = sum(len([name for name in group if name in self.entries]) - 1 for group in self.tied)
        return counted - tied


def starred(name: str) -> tuple[str, tuple[int, ...]]:
    """Split a tensor name into its template (`layers.*.weight`) and its indices."""
    return _INDEX.sub("*", name), tuple(int(number) for number in _INDEX.findall(name))


def select(blueprints: Mapping[str, Plain], config: Plain, own_code: bool = False) -> Plain | str:
    """Pick the blueprint for a config.json, or say why there is none.

    transformers builds the class that `model_type` leads to, so a blueprint serves only where both agree. A
    checkpoint that brings its own code is passed over unless `own_code` says that the loader ignores it.
    """
    if config.get("auto_map") and not own_code:
        return "the checkpoint brings its own code (auto_map)"
    architectures = config.get("architectures")
    if (
        not isinstance(architectures, list)
        or len(architectures) != 1
        or not isinstance(architectures[0], str)
    ):
        return "config.json does not name exactly one architecture"
    blueprint = blueprints.get(architectures[0])
    if blueprint is None:
        return f"the tensors of {architectures[0][:100]} are not described"
    if config.get("model_type") not in blueprint["model_types"]:
        return f"model_type does not belong to {architectures[0]}"
    return blueprint


def expected(blueprint: Plain, config: Plain) -> Expected | str:
    """Evaluate a blueprint for one configuration, or say which value could not be known."""
    found = _expected(blueprint, config)
    for other in blueprint.get("otherwise", ()) if isinstance(found, str) else ():
        answer = _expected({**blueprint, **other}, config)
        if not isinstance(answer, str):
            return answer
    return found


def _expected(blueprint: Plain, config: Plain) -> Expected | str:
    keys = Keys(config, blueprint)
    entries: dict[str, list[Entry]] = {}
    fused: dict[str, list[Fused]] = {}
    try:
        keys.require(blueprint.get("requires", {}))
        for group in blueprint["tensors"]:
            for entry in _entries(group, keys):
                entries.setdefault(entry.template, []).append(entry)
        for group in blueprint.get("fused", ()):
            replaces = tuple(starred(name)[0] for name in group["replaces"])
            for entry in _entries(group, keys):
                fused.setdefault(entry.template, []).append(Fused(entry, replaces))
        tied = tuple(
            frozenset(group["names"])
            for group in blueprint.get("tied", ())
            if keys.hold(group.get("when", {}))
        )
        extra = tuple(_extra_layers(blueprint.get("extra_layers", ()), keys))
    except Unknowable as unknowable:
        gap = Gap(unknowable)
        gap.key, gap.fault = unknowable.key, unknowable.fault
        return gap
    result = Expected(
        architecture=blueprint["architecture"],
        entries=entries,
        fused=fused,
        tied=tied,
        ignored=tuple(blueprint.get("ignored", ())),
        renamed=tuple(sorted(blueprint.get("renamed", {}).items(), key=lambda pair: -len(pair[0]))),
        prefix=blueprint.get("prefix", ""),
        extra_layers=extra,
        source=blueprint.get("evidence", {}).get("source", ""),
    )
    return result if result.total <= _LARGEST_COUNT else "config.json asks for implausibly many tensors"


def _entries(group: Plain, keys: Keys) -> Iterator[Entry]:
    if not keys.hold(group.get("when", {})):
        return
    over = [keys.indices(domain) for domain in group.get("over", ())]
    at = f"{group['at']}." if "at" in group else ""
    for name, (kind, *dims) in group["tensors"].items():
        shape: tuple[int, ...] | None = ()  # of no tensor, where no layer has it: then no size is read
        if all(over):
            shape = tuple(keys.size(dim) for dim in dims) if dims != ["?"] else None
        yield _entry(at + name, over, shape, " x ".join(map(str, dims)), kind)


def _entry(
    name: str, over: list[tuple[int, ...]], shape: tuple[int, ...] | None, formula: str, kind: str
) -> Entry:
    """Turn literal numbers in a name into indices of their own, so that templates meet stored ones."""
    domains = iter(over)
    indices = [
        next(domains) if part == "*" else (int(part),)
        for part in name.split(".")
        if part == "*" or part.isdigit()
    ]
    return Entry(starred(name)[0], tuple(indices), shape, formula, kind)


def _extra_layers(rows: Iterable[Plain], keys: Keys) -> Iterator[tuple[str, int, int]]:
    for row in rows:
        yield row["at"], keys.size(row["from"]), keys.size(row["from"]) + keys.size(row["count"])
