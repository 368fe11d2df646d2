"""Which quantiser transformers picks: ``AutoQuantizationConfig.from_dict``, ``get_hf_quantizer`` of quantizers/auto.py.

``load_in_4bit`` and ``load_in_8bit`` decide before ``quant_method``; a method that is not registered is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...formats import registry
from ...model import Location
from ..base import Event
from ..shared.modules import is_mlx
from ..shared.numbers import shown
from .run import TransformersRun

BNB_4BIT, BNB_8BIT = "bnb-4bit", "bnb-8bit"
_SIDECAR = "hf_quant_config.json"
_AT = (Location("config.json", "/quantization_config"),)
_NO_METHOD = "ValueError: The model's quantization config from the arguments has no `quant_method` attribute"
_NULL = "AttributeError: 'NoneType' object has no attribute 'to_dict'"
_BOTH = "ValueError: load_in_4bit and load_in_8bit are both True, but only one can be used at the same time"


def quantizer(run: TransformersRun) -> tuple[str, list[Event]]:
    """Return the method (``bnb-4bit``, ``bnb-8bit``, another ``quant_method`` or "") and refusals of the block."""
    refused = next(_refused(run), None)
    if refused is not None:
        return "", [refused]
    block = run.block
    if block.get("load_in_4bit") or block.get("load_in_8bit"):
        return (BNB_4BIT if block.get("load_in_4bit") else BNB_8BIT), []
    method = block.get("quant_method")
    if not isinstance(method, str):
        return "", []
    names = run.data.get("methods", {}).get("known", ())
    if (
        registry.holds(method, BNB_4BIT, run.rulebook) or method not in names
    ):  # a bare "bitsandbytes" is not a registered name
        return "", [Event("quantizer-skipped", "ok", {"method": method[:100]}, _AT)]
    return method, []


def _refused(run: TransformersRun) -> Iterator[Event]:
    """Yield what is wrong with the block."""
    config, block = run.ckpt.config, run.block
    value = config.get("quantization_config")
    if value is None:
        if "quantization_config" in config and run.does("null-quantization-raises"):
            yield Event("quantization-config-null", "fails", {}, _AT, error=_NULL)
    elif not isinstance(value, dict):
        error = f"AttributeError: '{type(value).__name__}' object has no attribute 'to_dict'"
        yield Event("quantization-config-type", "fails", {"got": shown(value)}, _AT, error=error)
    elif is_mlx(run.ckpt):
        yield Event("no-method-but-mlx", "fails", {}, _AT, error=_NO_METHOD)
    elif block.get("load_in_4bit") and block.get("load_in_8bit"):
        yield Event("both-widths", "fails", {}, _AT, error=_BOTH)
    elif not (block.get("load_in_4bit") or block.get("load_in_8bit")) and not _named(
        block.get("quant_method")
    ):
        yield Event("no-quant-method", "fails", {}, _AT, error=_NO_METHOD)


def _named(method: object) -> bool:
    return isinstance(method, str) and bool(method)


def passed_over(run: TransformersRun) -> str:
    """Return the method that a checkpoint declares where transformers goes on without one, "" otherwise.

    ModelOpt of old declares it in a file of its own, which transformers never opens.
    """
    if run.ckpt.config.get("quantization_config") is None and run.ckpt.object(_SIDECAR).get("quantization"):
        return registry.method_at(_SIDECAR, run.rulebook)
    named = run.block.get("quant_method") if not run.plan.method else ""
    return named[:100] if isinstance(named, str) else ""


def lacking(run: TransformersRun, method: str) -> tuple[str, ...]:
    """Return the packages that ``validate_environment`` of a quantiser asks for and the target does not have."""
    named = next((row["needs"] for row in run.rows("packages") if row["method"] == method), ())
    return tuple(f"{name} (pip install {name})" for name in named if name not in run.target.versions)
