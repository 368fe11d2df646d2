"""What an architecture expects to find in its files, computed from config.json alone.

A blueprint is plain data (`rules/architectures/*.yaml`, written by `scripts/architectures.py` out of a real
transformers installation). It lists name templates with shapes as formulas over configuration keys. Evaluating
one costs time in proportion to the number of templates, whatever the number of layers or experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .formula import Unknowable, evaluate

Plain = Mapping[str, Any]

_INDEX = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
_KEY = re.compile(r"[A-Za-z_][\w.]*")
_LARGEST_RANGE = 1 << 16
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
        return str(unknowable)
    result = Expected(
        architecture=blueprint["architecture"],
        entries=entries,
        fused=fused,
        tied=tied,
        ignored=tuple(blueprint.get("ignored", ())),
        renamed=tuple(sorted(blueprint.get("renamed", {}).items(), key=lambda pair: -len(pair[0]))),
        prefix=blueprint.get("prefix", ""),
        extra_layers=extra,
    )
    return result if result.total <= _LARGEST_COUNT else "config.json asks for implausibly many tensors"


def _entries(group: Plain, keys: Keys) -> Iterator[Entry]:
    if not keys.hold(group.get("when", {})):
        return
    over = [keys.indices(domain) for domain in group.get("over", ())]
    at = f"{group['at']}." if "at" in group else ""
    for name, (kind, *dims) in group["tensors"].items():
        known = dims != ["?"]
        shape = tuple(keys.size(dim) for dim in dims) if known else None
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


class Keys:
    """The values of configuration keys as the loader's class would see them, defaults included."""

    def __init__(self, config: Plain, blueprint: Plain) -> None:
        self._config = config
        self._absent: Plain = blueprint.get("absent", {})
        self._none: Plain = blueprint.get("none", {})
        self._alias: Plain = blueprint.get("alias", {})
        self._sizes: Plain = blueprint.get("sizes", {})
        self._words: Plain = blueprint.get("kinds", {})
        self._flat = blueprint.get("flat")
        self._seen: dict[str, Any] = {}
        self._open: set[str] = set()

    def value(self, key: str) -> Any:
        """The value of a dotted key; raises Unknowable where neither file nor class gives one."""
        if key not in self._seen:
            if key in self._open:
                raise Unknowable(f"{key} depends on itself")
            self._open.add(key)
            self._seen[key] = self._resolve(key)
            self._open.discard(key)
        return self._seen[key]

    def size(self, formula: int | str) -> int:
        """A formula as a number of at least zero."""
        return formula if isinstance(formula, int) else evaluate(formula, self._number)

    def hold(self, conditions: Plain) -> bool:
        """Whether every `key: value` (or `key: {not: value}`) holds."""
        for key, wanted in conditions.items():
            negated = isinstance(wanted, Mapping)
            value, wanted = self.value(key), wanted["not"] if negated else wanted
            if type(value) is not type(wanted) and value is not None and wanted is not None:
                raise Unknowable(f"{key} has an odd type")
            if (value == wanted) is negated:
                return False
        return True

    def require(self, tested: Plain) -> None:
        """Raise Unknowable where a key has a value that the blueprint was never tested with."""
        for key, accepted in tested.items():
            for name in (key, *self._alias.get(key, ())):
                found, value = self._stored(name)
                if found and not any(self._accepts(each, value) for each in accepted):
                    raise Unknowable(f"{name} has an unusual value")

    def _accepts(self, accepted: Any, value: Any) -> bool:
        wanted = self.value(accepted["key"]) if isinstance(accepted, Mapping) else accepted
        return type(value) is type(wanted) and bool(value == wanted)

    def indices(self, domain: int | str | Plain) -> tuple[int, ...]:
        """The indices that a domain (`rules/architectures/README.md`) stands for."""
        if not isinstance(domain, Mapping):
            return tuple(range(self._bounded(domain)))
        stop = len(self._list(domain["items"])) if "items" in domain else self._bounded(domain["to"])
        every = self.size(domain.get("every", 1)) or 1
        until = min(stop, self.size(domain.get("until", stop)))
        start = self.size(domain.get("offset", every - 1))
        chosen = [i for i in range(self.size(domain.get("from", 0)), until) if i % every == start]
        if "except" in domain:
            excluded = self._whole_numbers(domain["except"])
            chosen = [i for i in chosen if i not in excluded]
        if "in" in domain:
            included = self._whole_numbers(domain["in"])
            chosen = [i for i in chosen if i in included]
        if "where" in domain:
            kinds = self._kinds(domain["where"])
            if len(kinds) < stop:
                raise Unknowable(f"{domain['where']} is shorter than the stack of layers")
            chosen = [i for i in chosen if kinds[i] == domain["is"]]
        if domain.get("inverse"):
            return tuple(sorted(set(range(stop)).difference(chosen)))
        return tuple(chosen)

    def _kinds(self, key: str) -> list[Any]:
        """The items of a list, each by the word that the class takes it for."""
        known = self._words.get(key)
        items = self._list(key)
        if known is None:
            return items
        if not all(isinstance(item, str) and item in known for item in items):
            raise Unknowable(f"{key} has an unusual value")
        return [known[item] for item in items]

    def _bounded(self, formula: int | str) -> int:
        size = self.size(formula)
        if size > _LARGEST_RANGE:
            raise Unknowable(f"{formula} is implausibly large")
        return size

    def _number(self, key: str) -> int:
        value = self.value(key)
        if type(value) is not int or value < 0:
            raise Unknowable(f"{key} is not a whole number")
        return value

    def _whole_numbers(self, key: str) -> frozenset[int]:
        return frozenset(item for item in self._list(key) if type(item) is int)

    def _list(self, key: str) -> list[Any]:
        value = self.value(key)
        if not isinstance(value, list):
            raise Unknowable(f"{key} is not a list")
        return value

    def _resolve(self, key: str) -> Any:
        for name in (key, *self._alias.get(key, ())):
            found, value = self._stored(name)
            if found:
                break
        if found and (value is not None or key not in self._none):
            return value
        defaults = self._none if found else {**self._sizes, **self._absent}
        if key not in defaults:
            raise Unknowable(f"config.json gives no value for {key}")
        return self._default(defaults[key])

    def _default(self, default: Any) -> Any:
        """A literal, a formula or key (a string), `{value: …}` as it stands, or the rule for a list."""
        if isinstance(default, str):
            return self.value(default) if _KEY.fullmatch(default) else self.size(default)
        if not isinstance(default, Mapping):
            return default
        if "value" in default:
            return default["value"]
        if "length" in default:
            items = self.value(default["length"])
            if not isinstance(items, (list, Mapping)):
                raise Unknowable(f"{default['length']} is not a list")
            return len(items)
        return self._listed(default)

    def _listed(self, default: Plain) -> list[Any]:
        """A list that the class fills in by itself (`rules/architectures/README.md`)."""
        if "of" in default:
            return self._mapped(default)
        length = self._bounded(default["to"])
        if "first" in default:
            first = min(self.size(default["first"]), length)
            return [default["head"]] * first + [default["rest"]] * (length - first)
        every = self.size(default["every"]) or 1
        if "last" not in default:
            return list(range(every - 1, length, every))
        start = self.size(default.get("offset", every - 1))
        found = [default["last"] if i % every == start else default["other"] for i in range(length)]
        return [*found[:-1], default["final"]] if "final" in default and found else found

    def _mapped(self, default: Plain) -> list[Any]:
        items = self.value(default["of"])
        table = {(type(item), item): value for item, value in default["map"]}
        if not isinstance(items, (list, str)) or not items:
            raise Unknowable(f"{default['of']} is not a list")
        keys = [(type(item), item) for item in items if isinstance(item, (str, int))]
        if len(keys) < len(items) or not table.keys() >= set(keys):
            raise Unknowable(f"{default['of']} has an unusual value")
        length = self._bounded(default["to"]) if "to" in default else len(keys)
        return [table[keys[i % len(keys)]] for i in range(length)]

    def _stored(self, key: str) -> tuple[bool, Any]:
        *sections, leaf = key.split(".")
        place: Any = self._config
        for section in sections:
            inner = place.get(section) if isinstance(place, Mapping) else None
            if inner is None and section == self._flat:
                continue
            place = inner
        if not isinstance(place, Mapping) or leaf not in place:
            return False, None
        return True, place[leaf]
