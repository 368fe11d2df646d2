"""How vLLM's quantisation methods match the lists of a config against vLLM's own module names.

vLLM builds ``q_proj``, ``k_proj`` and ``v_proj`` as one ``qkv_proj`` and all experts of a layer as one ``experts``
(``packed_modules_mapping`` and ``RoutedExperts``), so a list is asked about names that no file has. Read off
``quantization/utils/{quant_utils,gptq_utils,config_utils}.py`` and ``modelopt.py`` of 0.20.0, 0.27.1, 0.30.0, 0.32.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice

from .. import facts
from ..shared import skips

Data = Mapping[str, object]
Skips = Callable[[str], bool]
"""Whether a module, by its name in the files, is left alone."""


def own(module: str, data: Data) -> str:
    """Return the name of the layer in vLLM that ``module`` becomes or becomes a part of."""
    experts = experts_of(module)
    if experts:
        return experts
    parent, _, last = module.rpartition(".")
    for name, parts in facts.groups(data):
        if last in parts:
            return f"{parent}.{name}" if parent else name
    return module


def experts_of(module: str) -> str:
    """Return the name of the experts that a matrix of one of them belongs to, "" for any other module."""
    before, found, _ = module.rpartition(".experts.")
    return f"{before}.experts" if found else ""


def in_list(listed: Sequence[str], data: Data, *, whole: bool, fused_names: bool = True) -> Skips:
    """Match as ``is_layer_skipped``: by the very name or, unless ``whole``, by an entry anywhere in the name.

    A fused layer is asked for by its own name (since 0.27, ``fused_names``) and by those of its parts. Experts are
    found by an entry that contains their name.
    """

    def match(name: str) -> bool:
        return name in exact if whole else any(entry in name for entry in listed)

    exact = frozenset(listed)
    experts = tuple(entry for entry in listed if "experts" in entry)

    def skipped(module: str) -> bool:
        if name := experts_of(module):
            return any(name in entry for entry in experts) if whole else match(name)
        name = own(module, data)
        return (fused_names and name != module and match(name)) or match(module)

    return skipped


def excluded(listed: Sequence[str], data: Data) -> Skips:
    """Match as ModelOpt's ``is_layer_excluded``: as `in_list`, else an entry within the layer's name, or a pattern."""
    plain = in_list(listed, data, whole=True)
    patterns = [entry for entry in listed if "*" in entry or "?" in entry]
    cheap = [entry for entry in patterns if len(entry) <= _LONGEST and entry.count("*") <= _STARS]

    @cache
    def layer(name: str) -> bool:
        return any(entry != name and entry in name for entry in listed) or any(
            fnmatchcase(name, entry) for entry in cheap
        )

    return lambda module: plain(module) or layer(own(module, data))


_LONGEST, _STARS = 300, 6
"""Patterns beyond these cost too much to match and match nothing."""
_RULES = 1000
"""So many rules are looked at."""


def by_rule(rules: Mapping[str, object], data: Data) -> Callable[[str], Mapping[str, object] | None]:
    """Return the lookup of GPTQ's ``dynamic``: the overrides for a module, None where a rule leaves it out.

    Rules are expressions, matched from the start against the name in vLLM; the first that matches counts
    (``get_dynamic_override``).
    """

    tests = [
        (
            skips.from_start((rule[2:] if rule[:2] in ("+:", "-:") else rule,)),
            rule.startswith("-:"),
            overrides,
        )
        for rule, overrides in islice(rules.items(), _RULES)
    ]

    @cache
    def layer(name: str) -> Mapping[str, object] | None:
        for matches, leaves_out, overrides in tests:
            if matches(name):
                return None if leaves_out else overrides if isinstance(overrides, dict) else {}
        return {}

    return lambda module: layer(own(module, data))


def named(module: str, listed: Iterable[str]) -> bool:
    """Match as ``is_layer_gptq_quantized``: an entry anywhere in the name that the module has in the files."""
    return any(entry in module for entry in listed)
