"""compressed-tensors, FP8, MXFP4 and torchao in transformers: what it asks for, and what a lack costs.

Read off ``quantizers/quantizer_*.py`` of 4.57.6 and 5.23.0 and compressed-tensors 0.20.0, and observed on a CPU.
Whatever no file fills is initialised anew, as far as its dtype can be; whatever has no place is only reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple

from ...checkpoint.nouns import Checkpoint, Leaf, Signature, View
from ...expected.comparison import Missing
from ...model import Facts, Location, Outcome, Target
from ..base import Event
from ..shared import facts, skips
from ..shared.modules import Architecture, kind
from ..shared.precision import Held
from ..shared.quantised import declared, mxfp4, torchao
from ..shared.quantised.layout import Layout, Shape
from ..shared.quantised.matching import Policy, compared, is_expert, quantised_experts
from . import packed as packed_in_transformers

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
_LOOKED_AT = 100
"""Names of one template that are asked for their format."""


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
    experts = quantised_experts(view)
    if method == "mxfp4":
        return Read(*mxfp4.read(view, dtype, lambda both: "corrupt" if both and five else "fails", "fails"))
    if method != "compressed-tensors" and not five:
        return Read({}, [], f"{method} in transformers 4 has not been observed")
    if method == "torchao":
        return Read(*torchao.read(ckpt, view, dtype))
    if experts and not five:
        return Read({}, [], f"{method} experts in transformers 4 have not been observed")
    if experts and method in ("gptq", "awq"):
        return Read({}, [], f"{method} experts have not been observed in transformers")
    if any(kind(signature, known) != "expert" for signature in experts):
        return Read({}, [], "the names that this architecture has for its experts are not known")
    if method in ("gptq", "awq"):
        return Read(*packed_in_transformers.read(ckpt, block, view, known, method, dtype))
    if method == "fp8":
        return _fp8(block, view, known, dtype)
    library = target.versions.get("compressed-tensors", "")
    zeros = facts.regime(data, library, "packed_zero_points") if library else ""
    held, events = compared(view, known, _compressed(block), _policy(five), dtype)
    if experts:
        held, events, _ = _with_experts(view, known, block, held, events, dtype)
    found = declared.groups(block)
    ordered = any(group.actorder in ("group", "dynamic") for group in found)
    packed_zeros = any(
        (leaf := signature.leaf("weight_zero_point")) is not None and leaf.dtype in ("", "I32")
        for signature in view.signatures
    )
    asymmetric = packed_zeros and any(
        not group.layout.symmetric and group.layout.format == "pack-quantized" for group in found
    )
    if asymmetric and zeros == "refused":
        told: Facts = {
            "loader": "transformers",
            "method": "compressed-tensors",
            "key": "symmetric",
            "value": "false",
        }
        events.append(Event("method-refused", "fails", told, _AT))
    if asymmetric and not zeros:
        events = [event for event in events if event.facts.get("leaf") != "weight_zero_point"]
    doubt = _ORDER if ordered else _ZEROS.format(version=target.version) if asymmetric and not zeros else ""
    return Read(held, events, doubt)


def of_missing(row: Missing, method: str, block: Mapping[str, object], target: Target, data: Data) -> Outcome:
    """Say what it costs that a whole quantised module is gone."""
    choose = _compressed(block)
    layouts = [choose(None, name.rpartition(".")[0]) for name in islice(row.names, _LOOKED_AT)]
    formats = {layout.format for layout in layouts if layout is not None}
    if not facts.does(data, "parts-are-initialised", target.version):
        return "corrupt" if method != "compressed-tensors" or not formats - _WHOLE_FORMATS else "fails"
    if method in ("gptq", "awq"):
        return packed_in_transformers.of_missing(method)
    if method != "compressed-tensors" or row.template.startswith("lm_head"):
        return "corrupt"
    return "fails" if formats & _WHOLE_FORMATS else "unknown"


def _compressed(block: Mapping[str, object]) -> Callable[[Signature | None, str], Layout | None]:
    """compressed-tensors matches by equality, by expression or by class, and what is told more exactly counts."""
    found, ignore = declared.groups(block), declared.texts(block.get("ignore"))
    ignored = skips.compressed_tensors(ignore)
    exact = [(group, _means(group, expressions=False)) for group in found]
    expressions = [(group, _means(group, expressions=True)) for group in found]
    by_class = [(group, "Linear" in group.targets) for group in found]
    packed = block.get("quantization_status") == "compressed"

    def choose(_: Signature | None, module: str) -> Layout | None:
        if ignored(module) or "Linear" in ignore:
            return None
        named = next((group for group, means in (*exact, *expressions) if means(module)), None)
        group = named or next((group for group, linear in by_class if linear), None)
        return group.layout if group and packed else None

    return choose


def _means(group: declared.Group, *, expressions: bool) -> skips.Test:
    return skips.compressed_tensors([text for text in group.targets if text.startswith("re:") == expressions])


def _with_experts(
    view: View,
    known: Architecture,
    block: Mapping[str, object],
    held: Held,
    events: list[Event],
    dtype: str,
) -> Read:
    """Experts are dequantised while their matrices are stacked, whether a list names them or not.

    ``integrations/compressed_tensors.py`` of 5.23.0 knows packed and FP8 ones; others end in an empty stack.
    """
    groups = declared.groups(block)
    named = [group for group in groups if any("experts" in one for one in group.targets)]
    layout = next((group.layout for group in [*named, *groups]), None)
    _, more = compared(view, known, lambda _, module: layout, _STACKED, dtype, is_expert)
    if layout is not None and layout.format in _INTEGER_FORMATS:
        told: Facts = {
            "loader": "transformers",
            "method": "compressed-tensors",
            "key": "format",
            "value": f"{layout.format} experts",
        }
        more = [Event("method-refused", "fails", told, _AT)]
    experts: Held = {n: {dtype or "bf16": s.modules} for n, s in enumerate(view.signatures) if is_expert(s)}
    return Read({**held, **experts}, [*events, *more])


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

    def misshapen(part: str, _layout: Layout | None, _found: Leaf, _wanted: Shape) -> Outcome:
        return "ok" if part.endswith(f".{_UNFILLED}") else "fails"

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
    mine, more = compared(view, known, lambda _, module: layout, _STACKED_FP8, "", is_expert)
    events += [event for event in more if event.code == "part-missing"]
    held |= {n: mine[n] for n, signature in enumerate(view.signatures) if is_expert(signature) and n in mine}
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


def _fp8_misshapen(part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
    if (
        part.endswith(".weight")
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
_STACKED = Policy(
    lambda leaf, _: "corrupt" if leaf == "weight_scale" else "ok" if leaf == _UNFILLED else "fails",
    lambda leaf: "ok",
    lambda part, _layout, _found, _wanted: "unknown",
    lambda dtype: "unknown",
)
"""The matrices of compressed-tensors' experts, which are dequantised one by one and then stacked."""
_STACKED_FP8 = Policy(
    lambda leaf, _: "fails",
    lambda leaf: "ok",
    lambda part, _layout, _found, _wanted: "unknown",
    lambda dtype: "unknown",
)
"""Those of FP8: as many scales as weights (``Fp8Dequantize``)."""
