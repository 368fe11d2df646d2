"""Which quantisation method vLLM settles on, and what it refuses about it: ``ModelConfig._verify_quantization``.

https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py
"""

from __future__ import annotations

from typing import NamedTuple

from ... import ruledata
from ...model import Facts, Location, Outcome
from .. import facts
from ..base import Event
from ..shared.modules import is_mlx
from .block import method_of
from .methods import strategy
from .run import VllmRun

_AT = (Location("config.json", "/quantization_config"),)


class Settled(NamedTuple):
    """The method, refusals, and packages that are lacking."""

    method: str
    events: list[Event]
    needs: tuple[str, ...] = ()


def settle(run: VllmRun) -> Settled:
    """Return the method; "" where there is none, or where it is refused before it has a name."""
    if is_mlx(run.ckpt):
        return Settled("", [Event("no-method-but-mlx", "fails", {}, _AT)])
    method = method_of(run.block)
    if not method and run.block and not run.does("empty-method-is-none"):
        return Settled("", [Event("method-unknown", "fails", {"method": ""}, _AT)])
    method = method or str(run.target.options.get("quantization") or "")
    if not method:
        return Settled("", [])
    if any(row["method"] == method for row in run.rows("methods")):
        return _own(run, method)
    return _plugged_in(run, method)


def _own(run: VllmRun, method: str) -> Settled:
    """Return what becomes of a method of vLLM itself (``QUANTIZATION_METHODS`` of layers/quantization/__init__.py)."""
    refused = _missing_keys(run, method) or strategy(run, method).refusals()
    named = next((row["needs"] for row in run.rows("packages") if row["method"] == method), ())
    lacking = tuple(f"{name} (pip install {name})" for name in named if name not in run.target.versions)
    return Settled(method, refused, lacking)


def _plugged_in(run: VllmRun, method: str) -> Settled:
    """Return what becomes of a method that a plug-in registers (``vllm.general_plugins``), or nobody."""
    error = f"ValueError: Unknown quantization method: {method}."
    package = next((row["package"] for row in run.rows("plugins") if row["method"] == method), "")
    if not package:
        unknown = Event("method-unknown", "fails", {"method": method[:100]}, _AT, error=error)
        return Settled(method, [unknown])
    if package in run.target.versions:
        return Settled(method, [])
    outcome: Outcome = "unknown" if run.target.origin == "assumed" else "fails"
    lacking = {"package": package, "method": method}
    event = Event("package-missing", outcome, lacking, _AT, error=error)
    return Settled(method, [event], (f"{package} (pip install {package})",))


def _missing_keys(run: VllmRun, method: str) -> list[Event]:
    """Return the refusal of a block that lacks a key its ``from_config`` insists on (``get_from_keys``)."""
    for row in run.rows("required_keys"):
        missing = tuple(key for key in row["keys"] if key not in run.block)
        if row["method"] == method and missing:
            error = f"ValueError: Cannot find any of ['{missing[0]}'] in the model's quantization config."
            details: Facts = {"method": method, "keys": missing}
            return [Event("method-keys-missing", "fails", details, _AT, error=error)]
    return []


def unlisted(run: VllmRun) -> str:
    """Say that vLLM's registry does not list the architecture, and in which versions it does; "" when it is listed.

    vLLM may still run such a model through transformers (model_executor/models/registry.py), which depends on code
    that is not looked at here.
    """
    first = run.architectures[0] if run.architectures else ""
    name = first if isinstance(first, str) else ""
    rows = facts.rows(run.data, "architectures") if name else []
    spans = [row["versions"] for row in rows if name in row["names"] and name in row["names"].split()]
    if not rows or any(ruledata.matches(span, run.version) for span in spans):
        return ""
    if not spans:
        return f"vLLM's registry does not list {name[:60]}"
    return f"vLLM's registry is known to list {name[:60]} only in {' and '.join(map(facts.in_words, spans))}"
