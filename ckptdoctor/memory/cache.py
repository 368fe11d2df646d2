"""What vLLM keeps of a sequence: rows of ``rules/memory.yaml`` over the keys of config.json.

A class without a row, or a key that the config does not give, is a reason to say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..expected.formula import Unknowable
from ..expected.keys import Keys
from ..ruledata import Rulebook
from .nouns import Cache, Layers
from .states import STATES

Config = Mapping[str, Any]
WIDTHS = {"bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
"""Types of ``--kv-cache-dtype`` → bytes of a number."""
AUTO = "auto"


def cache(config: Config, rulebook: Rulebook, *, dtype: str = AUTO, devices: int = 1) -> Cache:
    """Return what the layers of a model keep in vLLM on the first of ``devices`` devices.

    ``dtype`` is "auto" (what the checkpoint asks for, else its own) or a key of ``WIDTHS``.
    """
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    row = rulebook.memory()["cache"].get(name)
    blueprint = rulebook.architecture(name) if name else None
    if row is None or blueprint is None:
        what = name[:100] or "a config.json without architectures"
        return Cache(unknown=f"what the layers of {what} keep of a sequence is not described")
    chosen = _dtype(config) if dtype == AUTO else dtype
    if chosen not in WIDTHS:
        return Cache(unknown=f"how wide numbers of {chosen[:60]} are in the cache is not known")
    keys = Keys(
        config, {**blueprint, **{key: {**blueprint.get(key, {}), **row.get(key, {})} for key in _OWN}}
    )
    try:
        if not keys.hold(row.get("when", {})):
            return Cache(unknown=f"{name} is described only with {_words(row['when'])}")
        found = tuple(_layers(row, keys, WIDTHS[chosen], devices))
    except Unknowable as unknowable:
        return Cache(unknown=str(unknowable))
    return Cache(found, chosen, row.get("copies", 1))


_OWN = ("absent", "none")
_FLOATS = {"float16": "float16", "half": "float16"}


def _dtype(config: Config) -> str:
    """Return what "auto" comes to: FP8 where the checkpoint says so, else the type of the model, which is 16 bits wide.

    ``utils/torch_utils.py: resolve_kv_cache_dtype_string``, and Attention's own look at ``kv_cache_scheme``.
    """
    block = config.get("quantization_config")
    for place in (block, block.get("quantization") if isinstance(block, dict) else None):
        if isinstance(place, dict):
            scheme, algorithm = place.get("kv_cache_scheme"), place.get("kv_cache_quant_algo")
            if isinstance(scheme, dict):
                eight = scheme.get("num_bits") == 8 and scheme.get("type") == "float"
                return "fp8" if eight else f"kv_cache_scheme of {scheme.get('num_bits')} bits"
            if isinstance(algorithm, str):
                return "fp8" if algorithm.lower() == "fp8" else algorithm
    for key in ("dtype", "torch_dtype"):
        if isinstance(config.get(key), str):
            return _FLOATS.get(config[key].removeprefix("torch."), "bfloat16")
    return "bfloat16"


def _layers(row: Mapping[str, Any], keys: Keys, width: int, devices: int) -> Iterator[Layers]:
    for group in row["layers"]:
        if not keys.hold(group.get("when", {})):
            continue
        count = len(keys.indices(group["over"]))
        if not count:
            continue
        if "state" in group:
            sizes = {key: keys.size(group[key]) for key in group.keys() - {"state", "over", "when"}}
            yield Layers("state", count, state=STATES[group["state"]](sizes, devices))
        elif "heads" not in group:
            yield Layers("latent", count, keys.size(group["width"]) * width)
        else:
            yield _attention(group, keys, count, width, devices)


def _attention(group: Mapping[str, Any], keys: Keys, count: int, width: int, devices: int) -> Layers:
    """Return layers of keys and values: a device has its share of the heads, and one at least."""
    heads = max(1, keys.size(group["heads"]) // devices)
    key_width = keys.size(group["width"])
    per_token = heads * (key_width + keys.size(group.get("width_of_values", group["width"]))) * width
    for kind in ("window", "chunk"):
        formula = group.get(kind)
        if formula is not None and not (isinstance(formula, str) and _is_null(keys, formula)):
            return Layers(kind, count, per_token, keys.size(formula))
    return Layers("full", count, per_token)


def _is_null(keys: Keys, formula: str) -> bool:
    return formula.isidentifier() and keys.value(formula) is None


def _words(conditions: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {str(value).lower()}" for key, value in conditions.items())
