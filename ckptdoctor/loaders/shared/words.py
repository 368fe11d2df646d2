"""Words in config.json that stand for code: a dtype, an activation, a way to scale rotary positions.

transformers looks each up by its name, and a name that is nobody's raises; tried in 4.57.6 and 5.23.0.
https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/modeling_rope_utils.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...checkpoint.nouns import Checkpoint
from ...model import Location
from ..base import Event
from .numbers import blueprint_of, shown

Plain = Mapping[str, Any]

_NO_FLOATS = frozenset({"int8", "uint8", "int16", "int32", "int64", "bool"})
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64", "half", "float", "double"})
_ACTIVATION_KEYS = ("hidden_activation", "hidden_act", "activation_function")
_NAMES = (
    "gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh hardswish laplace "
    "leaky_relu linear mish prelu quick_gelu relu relu2 relu6 sigmoid silu sqrtsoftplus swish tanh xielu"
)
_ACTIVATIONS = frozenset(_NAMES.split())
"""ACT2FN of activations.py: what 4.57.6 and 5.23.0 have, together."""
_ROPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "axial": (),
    "proportional": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""Kind of rope → keys that it insists on in every release (``_validate_…_rope_parameters``)."""
_OWN_ROPES = frozenset({"mrope", "su", "ntk", "xdrope", "dynamic-yarn", "deepseek_yarn", "mllama4"})
"""Kinds that some class or another takes, by code of its own."""


def word_events(ckpt: Checkpoint, *, integers: bool, activations: bool = True) -> list[Event]:
    """Return the words that nothing goes by.

    ``integers``: a dtype of whole numbers is refused as well.
    ``activations``: the class looks its activation up.
    """
    config = ckpt.config
    if not config or "auto_map" in config:
        return []
    known = blueprint_of(ckpt) is not None
    return [
        *_dtypes(config, integers),
        *_ropes(config, known),
        *(_activations(config) if known and activations else ()),
    ]


def _dtypes(config: Plain, integers: bool) -> Iterator[Event]:
    """``getattr(torch, dtype)`` of configuration_utils.py; kinds of eight bits are left to the quantisers."""
    for key in ("dtype", "torch_dtype"):
        dtype = config.get(key)
        if isinstance(dtype, str):
            name = dtype.removeprefix("torch.")
            if name in _NO_FLOATS:
                if integers:
                    yield _refused(key, dtype)
            elif name not in _FLOATS and name != "auto" and not name.startswith("float8"):
                error = f"AttributeError: module 'torch' has no attribute '{name[:60]}'"
                yield _refused(key, dtype, error)
            return


def _activations(config: Plain) -> Iterator[Event]:
    for key in _ACTIVATION_KEYS:
        name = config.get(key)
        if isinstance(name, str):
            if name not in _ACTIVATIONS:
                yield _refused(key, name, f"KeyError: '{name[:60]}'")
            return


def _ropes(config: Plain, known: bool) -> Iterator[Event]:
    for key in ("rope_parameters", "rope_scaling"):
        rope = config.get(key)
        if isinstance(rope, Mapping):
            nested = [(f"{key}.{name}", value) for name, value in rope.items() if isinstance(value, Mapping)]
            for place, values in nested or [(key, rope)]:
                yield from _rope(place, values, known)
        elif rope and known:
            yield _refused(key, rope)


def _rope(place: str, rope: Plain, known: bool) -> Iterator[Event]:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if not isinstance(kind, str):
        return
    needed = _ROPES.get(kind)
    if needed is None:
        if known and kind not in _OWN_ROPES:
            yield _refused(f"{place}.rope_type", kind, f"KeyError: '{kind[:60]}'")
        return
    lacking = [key for key in needed if key not in rope]
    if lacking:
        error = f"KeyError: \"Missing required keys in `rope_parameters` for 'rope_type'='{kind}': {{'{lacking[0]}'}}\""
        at = (Location("config.json", f"/{place.replace('.', '/')}"),)
        value = f"of type {kind} without {lacking[0]}"
        yield Event("value-refused", "fails", {"key": place, "value": value}, at, error=error)
    elif "factor" in needed and known and not isinstance(rope["factor"], (int, float)):
        error = "TypeError: unsupported operand type(s) for /=: 'Tensor' and 'str'"
        yield _refused(f"{place}.factor", rope["factor"], error)


def _refused(key: str, value: object, error: str | None = None) -> Event:
    at = (Location("config.json", f"/{key.replace('.', '/')}"),)
    text = value if isinstance(value, str) else shown(value)
    return Event("value-refused", "fails", {"key": key, "value": text[:60]}, at, error=error)
