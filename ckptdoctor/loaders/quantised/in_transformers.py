"""compressed-tensors, FP8, MXFP4 and torchao in transformers: what it asks for, and what a lack costs.

Read off ``quantizers/quantizer_*.py`` of 4.57.6 and 5.23.0 and compressed-tensors 0.20.0, and observed on a CPU.
Whatever no file fills is initialised anew, as far as its dtype can be; whatever has no place is only reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...checkpoint.comparison import Missing
from ...checkpoint.nouns import Checkpoint, Leaf, Signature, View
from ...model import Location, Outcome, Target
from .. import facts, skips
from ..base import Event
from ..modules import Architecture
from ..precision import Held
from . import declared, mxfp4, packed_in_transformers, torchao
from .layout import Layout, Shape
from .matching import Choose, Policy, compared

Data = Mapping[str, object]

METHODS = frozenset({"compressed-tensors", "fp8", "mxfp4", "torchao", "gptq", "awq"})
"""Methods modelled here."""
_INTEGER_FORMATS = frozenset({"int-quantized", "naive-quantized"})
_WHOLE_FORMATS = _INTEGER_FORMATS | {"float-quantized"}
_UNFILLED = "weight_shape"
_AT = (Location("config.json", "/quantization_config"),)
_ORDER = "the activation order depends on the version of compressed-tensors"
_ZEROS = (
    "compressed-tensors 0.14 to 0.17 read these zero points, older and newer ones refuse them; say which you have: "
    "--for transformers=={version},compressed-tensors==X.Y.Z"
)


class Read(NamedTuple):
    """How every module is held, what happens, and why this model abstains ("" where it does not)."""

    held: Held
    events: list[Event]
    doubt: str = ""


def read(
    ckpt: Checkpoint, view: View, known: Architecture, method: str, target: Target, data: Data, dtype: str
) -> Read:
    """Say how transformers reads a checkpoint under ``method``, one of `METHODS`."""
    block = ckpt.config.get("quantization_config")
    block = block if isinstance(block, dict) else {}
    five = facts.does(data, "parts-are-initialised", target.version)
    experts = any(s.stored.quantized and ".experts" in s.template for s in view.signatures)
    if method == "mxfp4":
        return Read(*mxfp4.read(view, dtype, lambda both: "corrupt" if both and five else "fails", "fails"))
    if method != "compressed-tensors" and not five:
        return Read({}, [], f"{method} in transformers 4 has not been observed")
    if method == "torchao":
        return Read(*torchao.read(ckpt, view, dtype))
    if experts:
        return Read({}, [], f"{method} experts have not been observed in transformers")
    if method in ("gptq", "awq"):
        return Read(*packed_in_transformers.read(ckpt, block, view, known, method, dtype))
    if method == "fp8":
        return _fp8(block, view, known, dtype)
    library = target.versions.get("compressed-tensors", "")
    zeros = facts.regime(data, library, "packed_zero_points") if library else ""
    held, events = compared(view, known, _compressed(block, zeros), _policy(five), dtype)
    found = declared.groups(block)
    ordered = any(group.actorder in ("group", "dynamic") for group in found)
    asymmetric = any(
        not group.layout.symmetric and group.layout.format == "pack-quantized" for group in found
    )
    if asymmetric and zeros == "refused":
        event = {
            "loader": "transformers",
            "method": "compressed-tensors",
            "key": "symmetric",
            "value": "false",
        }
        events.append(Event("method-refused", "fails", event, _AT))
    doubt = _ORDER if ordered else _ZEROS.format(version=target.version) if asymmetric and not zeros else ""
    return Read(held, events, doubt)


def of_missing(row: Missing, method: str, block: Mapping[str, object], target: Target, data: Data) -> Outcome:
    """Say what it costs that a whole quantised module is gone."""
    if not facts.does(data, "parts-are-initialised", target.version):
        formats = {group.layout.format for group in declared.groups(block)}
        return "corrupt" if method != "compressed-tensors" or formats & _WHOLE_FORMATS else "fails"
    if method in ("gptq", "awq"):
        return packed_in_transformers.of_missing(method)
    if method != "compressed-tensors" or row.template.startswith("lm_head"):
        return "corrupt"
    formats = {group.layout.format for group in declared.groups(block)}
    return "fails" if formats & _WHOLE_FORMATS else "unknown"


def _compressed(block: Mapping[str, object], zeros: str) -> Choose:
    """compressed-tensors matches a target or an ignored name by equality, by expression or by class.

    ``zeros`` is what its version does about packed zero points: from 0.18 on it makes one a row, and those in the file
    do not fit.
    """
    ignore = declared.texts(block.get("ignore"))
    ignored = skips.compressed_tensors(ignore)
    targeted = [(group, skips.compressed_tensors(group.targets)) for group in declared.groups(block)]
    packed = block.get("quantization_status") == "compressed"

    def choose(_: Signature, module: str) -> Layout | None:
        if ignored(module) or "Linear" in ignore:
            return None
        for group, means in targeted:
            if "Linear" in group.targets or means(module):
                return group.layout._replace(zeros_by_row=zeros == "by-row") if packed else None
        return None

    return choose


def _policy(five: bool) -> Policy:
    def missing(leaf: str, layout: Layout | None) -> Outcome:
        whole = layout is not None and layout.format in _WHOLE_FORMATS
        integers = layout is not None and layout.format in _INTEGER_FORMATS
        if not five:
            packed = layout is not None and not whole
            return "fails" if packed or (integers and leaf == "weight_scale") else "corrupt"
        if leaf == _UNFILLED:
            return "unknown"
        if leaf == "weight_zero_point":
            return "fails-late"
        return "fails" if whole and leaf == "weight" else "corrupt"

    def misshapen(leaf: str, _layout: Layout | None, _found: Leaf, _wanted: Shape) -> Outcome:
        return "ok" if leaf == _UNFILLED else "fails"

    def plain_codes(dtype: str) -> Outcome:
        floats = dtype.startswith("F8")
        if five:
            return "corrupt" if floats else "fails-late"
        return "fails-late" if floats else "fails"

    return Policy(missing, lambda leaf: "ok", misshapen, plain_codes)


def _fp8(block: Mapping[str, object], view: View, known: Architecture, dtype: str) -> Read:
    """Dequantised on a CPU: the tile follows from the shapes, so the block's numbers are never looked at.

    A GPU takes them at their word. Where the two differ, nothing is said.
    """
    layout = declared.fp8(block)
    listed = declared.texts(block.get("modules_to_not_convert")) or declared.texts(
        block.get("ignored_layers")
    )
    skipped = skips.transformers5(listed)
    doubts: list[str] = []

    def choose(signature: Signature, module: str) -> Layout | None:
        last = module.rpartition(".")[2]
        codes = any(leaf.dtype.startswith("F8") for leaf in signature.leaves)
        scaled = any("scale" in leaf.name for leaf in signature.leaves)
        if codes and skipped(module):
            doubts.append("a module in the skip list is stored in FP8: a CPU takes it, a GPU does not")
        if not codes and not scaled and last != "lm_head" and not skipped(module):
            doubts.append("a 16-bit module that no list names: a CPU takes it, a GPU does not")
        return layout if codes or scaled else None

    held, events = compared(view, known, choose, _FP8, dtype)
    tiles = [e for e in events if e.code in ("part-missing", "part-unplaced") and layout.block is None]
    if tiles or _other_tile(events, view, layout):
        return Read(
            held, [], "the declared tile is another than the stored one: a CPU takes it, a GPU does not"
        )
    return Read(held, events, doubts[0] if doubts else "")


def _other_tile(events: list[Event], view: View, layout: Layout) -> bool:
    """Whether every scale in the files has another shape than declared: the numbers are wrong, not one tensor."""
    wrong = sum(
        event.count for event in events if event.code == "part-shape" and "scale" in str(event.facts["leaf"])
    )
    scaled = sum(signature.count for signature in view.signatures if signature.leaf("weight_scale_inv"))
    return bool(wrong) and wrong == scaled and scaled > 1


def _fp8_missing(leaf: str, _layout: Layout | None) -> Outcome:
    return "fails-late" if leaf.startswith("weight_scale") else "corrupt"


def _fp8_misshapen(leaf: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
    if (
        leaf == "weight"
        or layout is None
        or layout.block is None
        or len(found.shape) != 2
        or len(wanted) != 2
    ):
        return "fails"
    rows, columns = wanted[0] * layout.block[0], wanted[1] * layout.block[1]
    whole = all(found.shape) and rows % found.shape[0] == 0 and columns % found.shape[1] == 0
    return "corrupt" if whole else "fails"


_FP8 = Policy(_fp8_missing, lambda leaf: "ok", _fp8_misshapen, lambda dtype: "corrupt")
