"""GPTQ and AWQ in transformers 5, by optimum and gptqmodel: what is built packed, and what a lack costs.

Read off ``quantizers/quantizer_{gptq,awq}.py`` and ``integrations/awq.py`` of 5.23.0 and ``gptq/quantizer.py`` of
optimum 2.3.0, and observed on a CPU with gptqmodel 7.7.0. Whatever no file fills keeps what was in memory; for
``g_idx`` those are indices of groups that do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...checkpoint.nouns import Checkpoint, Leaf, Signature, View
from ...model import Location, Outcome
from ..base import Event
from ..shared import skips
from ..shared.modules import Architecture
from ..shared.precision import Held
from ..shared.quantised import declared
from ..shared.quantised.layout import Layout, Shape
from ..shared.quantised.matching import Choose, Policy, compared, is_linear

Block = Mapping[str, object]

_LISTED = "modules_in_block_to_quantize"
_SKIPPED = "modules_to_not_convert"
_NOTHING = "UnboundLocalError: cannot access local variable 'has_been_replaced'"
_FLAT = 'TypeError: can only concatenate list (not "str") to list'


def read(
    ckpt: Checkpoint, block: Block, view: View, known: Architecture, method: str, dtype: str
) -> tuple[Held, list[Event], str]:
    """Return how every module is held, what happens, and why nothing is said ("" where something is)."""
    doubt = _doubt(ckpt, block, method)
    layout = declared.gptq(block) if method == "gptq" else declared.awq(block)
    if doubt or layout is None:
        return {}, [], doubt or f"{method} of this width has not been observed in transformers"
    choose = _in_blocks(block, layout) if method == "gptq" else _not_listed(block, layout)
    held, events = compared(view, known, choose, _POLICY, dtype)
    listed = block.get(_LISTED)
    if method == "gptq" and isinstance(listed, list) and any(isinstance(item, str) for item in listed):
        at = (Location("config.json", f"/quantization_config/{_LISTED}"),)
        facts = {
            "loader": "transformers",
            "method": "gptq",
            "key": _LISTED,
            "value": "that is not a list of lists",
        }
        events.append(Event("method-refused", "fails", facts, at, error=_FLAT))
    linear = [s for s in view.signatures if s.modules and is_linear(s, known)]
    if method == "awq" and linear and not any(choose(s, module) for s in linear for module in s.modules):
        at = (Location("config.json", f"/quantization_config/{_SKIPPED}"),)
        events.append(Event("nothing-quantized", "fails", {"key": _SKIPPED}, at, error=_NOTHING))
    return held, events, ""


def of_missing(method: str) -> Outcome:
    """Say what it costs that a whole packed module is gone."""
    return "fails-late" if method == "gptq" else "corrupt"


def _doubt(ckpt: Checkpoint, block: Block, method: str) -> str:
    if "text_config" in ckpt.config:
        return f"{method} inside a model of several parts has not been observed in transformers"
    if method == "gptq" and block.get("checkpoint_format", "gptq") not in ("gptq", "gptq_v2"):
        return "what transformers makes of this checkpoint_format has not been observed"
    if method == "awq" and str(block.get("version") or block.get("format") or "gemm").lower() != "gemm":
        return "AWQ kernels other than gemm depend on the device"
    return ""


def _in_blocks(block: Block, layout: Layout) -> Choose:
    """All linear layers of the decoder, or those whose names end as the list says; ``dynamic`` is not read."""
    endings = declared.texts(block.get(_LISTED))

    def choose(_: Signature, module: str) -> Layout | None:
        if ".layers." not in f".{module}" and ".h." not in f".{module}":
            return None
        return layout if not endings or module.endswith(endings) else None

    return choose


def _not_listed(block: Block, layout: Layout) -> Choose:
    """All linear layers but the head and those of the skip list; zero points are always asked for."""
    listed = (*declared.texts(block.get(_SKIPPED)), "lm_head")
    skipped, whole = skips.transformers5(listed), layout._replace(symmetric=False)
    return lambda _, module: None if skipped(module) else whole


def _missing(leaf: str, _: Layout | None) -> Outcome:
    return "fails-late" if leaf == "g_idx" else "corrupt"


def _misshapen(_leaf: str, _layout: Layout | None, _found: Leaf, _wanted: Shape) -> Outcome:
    return "fails"


_POLICY = Policy(_missing, lambda leaf: "ok", _misshapen, lambda dtype: "corrupt")
