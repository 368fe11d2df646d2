"""The values of configuration keys as a loader's class would see them: defaults, other names, lists filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .formula import Unknowable, evaluate

Plain = Mapping[str, Any]

_KEY = re.compile(r"[A-Za-z_][\w.]*")
_LARGEST_RANGE = 1 << 16


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
            if value is None and isinstance(wanted, bool):
                value = False  # a class that keeps null for a switch tests it by ``if``
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
        every = self._step(domain.get("every", 1))
        until = min(stop, self.size(domain.get("until", stop)))
        start = self.size(domain.get("offset", every - 1))
        chosen = [i for i in range(self.size(domain.get("from", 0)), until) if i % every == start]
        chosen = self._kept(chosen, domain, stop)
        if domain.get("inverse"):
            return tuple(sorted(set(range(stop)).difference(chosen)))
        return tuple(chosen)

    def _kept(self, chosen: list[int], domain: Plain, stop: int) -> list[int]:
        """Those of the ``chosen`` layers that the lists of a domain leave in, of a stack of ``stop`` layers."""
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
        return chosen

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
        try:
            size = self.size(formula)
        except Unknowable as unknowable:
            unknowable.fault = "negative count" if unknowable.fault == "negative" else unknowable.fault
            raise
        if size > _LARGEST_RANGE:
            raise Unknowable(f"{formula} is implausibly large", str(formula), "huge")
        return size

    def _step(self, formula: int | str) -> int:
        """The distance from one chosen layer to the next; Python takes a negative one, and none of them takes 0."""
        try:
            step = self.size(formula)
        except Unknowable as unknowable:
            unknowable.fault = "" if unknowable.fault == "negative" else unknowable.fault
            raise
        if not step:
            raise Unknowable(f"{formula} is a step of zero", str(formula), "zero")
        return step

    def _number(self, key: str) -> int:
        value = self.value(key)
        if type(value) is not int:
            raise Unknowable(f"{key} is not a whole number", key, "type")
        if value < 0:
            raise Unknowable(f"{key} is negative", key, "negative")
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
        if not found:
            self._require_section(key)
        defaults = self._none if found else {**self._sizes, **self._absent}
        if key not in defaults:
            raise Unknowable(f"config.json gives no value for {key}")
        return self._default(defaults[key])

    def _require_section(self, key: str) -> None:
        """Raise Unknowable where the part that ``key`` lies in is absent as a whole.

        A class that makes such a part by itself gives it values of its own, which are not those of the part's class:
        LLaVA's default vision tower has 24 layers, a CLIPVisionConfig 12
        (https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llava/configuration_llava.py).
        """
        section, dot, _ = key.partition(".")
        if dot and section != self._flat and not isinstance(self._config.get(section), Mapping):
            raise Unknowable(f"config.json has no {section}")

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
        every = self._step(default["every"])
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
