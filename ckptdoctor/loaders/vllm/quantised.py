"""compressed-tensors, FP8, GPTQ and AWQ in vLLM: which modules it builds quantised, and what a difference costs.

Read off ``layers/quantization/{compressed_tensors,fp8.py,auto_gptq.py,auto_awq.py}`` and ``utils/quant_utils.py`` of
0.20.0, 0.27.1, 0.30.0 and 0.32.0. A parameter that no file fills keeps what was in memory: quantised models have no
completeness check (``DefaultModelLoader.track_weights_loading``). A name without a parameter raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ... import ruledata
from ...checkpoint.nouns import Checkpoint, Leaf, View
from ...model import Location, Outcome, Target
from ..base import Event
from ..shared import facts
from ..shared.modules import Architecture
from ..shared.precision import Held
from ..shared.quantised import declared, modelopt, mxfp4, torchao
from ..shared.quantised.layout import Layout, Shape
from ..shared.quantised.matching import Choose, Policy, by_layer, compared, is_expert, is_linear, shape_of
from . import choice as vllm_choice

Data = Mapping[str, object]

FAMILIES = {
    "compressed-tensors": "compressed-tensors",
    "fp8": "fp8",
    "gptq": "gptq",
    "gptq_marlin": "gptq",
    "auto_gptq": "gptq",
    "awq": "awq",
    "awq_marlin": "awq",
    "auto_awq": "awq",
    "modelopt": "modelopt",
    "modelopt_fp4": "modelopt",
    "torchao": "torchao",
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
}
"""Method → the family modelled here."""

_AT = (Location("config.json", "/quantization_config"),)


class Read(NamedTuple):
    """How every module is held, what happens, and why this model abstains ("" where it does not)."""

    held: Held
    events: list[Event]
    doubt: str = ""


def refusals(method: str, block: Mapping[str, object], target: Target, data: Data) -> list[Event]:
    """Return what the method's ``from_config`` refuses about the block."""
    family, found = FAMILIES.get(method, ""), []
    bits = declared.number(block.get("w_bit", block.get("bits")), 0)
    group = declared.number(block.get("group_size"), -1)
    if family == "gptq":
        if (
            block.get("desc_act") is True
            and group != -1
            and facts.does(data, "desc-act-refused", target.version)
        ):
            found.append(("desc_act", "true"))
        if facts.does(data, "gptq-is-4-or-8-bit-symmetric", target.version) and (
            bits not in (4, 8) or block.get("sym") is False
        ):
            found.append(("bits", f"{bits}, sym {str(block.get('sym')).lower()}"))
    if family == "awq" and bits and bits != 4:
        found.append(("bits", str(bits)))
    if family == "compressed-tensors":
        found += _refused_groups(block, target, data)
    if family == "modelopt":
        found += modelopt.refused(block)
    return [
        Event(
            "method-refused", "fails", {"loader": "vLLM", "method": family, "key": key, "value": value}, _AT
        )
        for key, value in found
    ]


def unread(method: str, target: Target, data: Data) -> str:
    """Say that the method was not read at this version, "" where it was."""
    known = method not in FAMILIES or facts.does(data, "parts-were-read", target.version)
    return "" if known else f"{method} in vLLM before 0.20 is not modelled"


def _refused_groups(block: Mapping[str, object], target: Target, data: Data) -> Iterator[tuple[str, str]]:
    ordered = facts.does(data, "desc-act-refused", target.version)
    for group in declared.groups(block):
        if group.actorder in ("group", "dynamic") and ordered:
            yield "actorder", group.actorder
        if group.layout.format == "int-quantized" and not group.has_inputs:
            yield "format", "int-quantized without input_activations"


def read(
    ckpt: Checkpoint,
    view: View,
    known: Architecture,
    method: str,
    block: Mapping[str, object],
    target: Target,
    data: Data,
) -> Read:
    """Say how vLLM reads a checkpoint under ``method``, one of `FAMILIES`, which ``block`` declares."""
    family = FAMILIES[method]
    if family == "mxfp4":
        return Read(*mxfp4.read(view, "", lambda both: "corrupt", "unknown"), "")
    if family == "torchao":
        return Read(*torchao.read(ckpt, view, "", "corrupt"))
    chosen = vllm_choice.chooser(family, view, known, block, target, data)
    if isinstance(chosen, str):
        return Read({}, [], chosen)
    doubt = vllm_choice.doubt(family, view, known, block, target, data)
    if doubt:
        return Read({}, [], doubt)
    routers = vllm_choice.quantises_routers(ckpt.config, target, data)
    held, events = compared(
        view,
        known,
        chosen,
        _policy(ckpt, family, block, target, data),
        "",
        lambda signature: vllm_choice.takes(signature, known, routers),
    )
    events += _mixed(view, known, chosen, data)
    events += _uneven(view, known, family, chosen, data)
    return Read(held, events)


def drops_name(ckpt: Checkpoint, target: Target, data: Data) -> Callable[[str], bool]:
    """Return the test whether a tensor (by template) without a parameter is passed over, not raised at.

    Some models' own ``load_weights`` of old do so, but not for a part of a fused layer.
    """
    names = ckpt.config.get("architectures")
    lenient = any(
        isinstance(names, list)
        and row["architecture"] in names
        and ruledata.matches(row["versions"], target.version)
        for row in facts.rows(data, "unknown_names_skipped")
    )
    fused = {part for _, parts in facts.groups(data) for part in parts}
    return lambda tensor: lenient and fused.isdisjoint(tensor.split("."))


def _policy(ckpt: Checkpoint, family: str, block: Mapping[str, object], target: Target, data: Data) -> Policy:
    dropped = drops_name(ckpt, target, data)
    # from there on g_idx is dropped by its name (QuantizationConfig.get_checkpoint_weight_mapper)
    unordered = facts.does(data, "desc-act-refused", target.version)
    plain_kernels = facts.does(data, "gptq-is-4-or-8-bit-symmetric", target.version)

    def missing(leaf: str, _: Layout | None) -> Outcome:
        if leaf == "weight_shape" or (leaf == "g_idx" and unordered):
            return "ok"
        if family == "gptq" and leaf == "g_idx" and block.get("desc_act") is not True:
            return "unknown"  # ExLlama's kernel reads it, Marlin's does not
        if family == "gptq" and leaf == "qzeros":
            return "ok" if plain_kernels else "unknown"
        return "corrupt"

    def unplaced(tensor: str) -> Outcome:
        return "ok" if dropped(tensor) or (unordered and tensor.endswith(".g_idx")) else "fails"

    def misshapen(part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        if part.endswith(".weight_shape") or (unordered and part.endswith(".g_idx")):
            return "ok"
        if ".experts." in part:
            return _short(part, found.shape, wanted)
        return "corrupt" if _cut(part, layout, found.shape, wanted) else "fails"

    return Policy(missing, unplaced, misshapen, lambda dtype: "corrupt")


def _short(part: str, found: Shape, wanted: Shape) -> Outcome:
    """An expert's tensor with too few rows fills the first of them (``_narrow_expert_data_for_padding``)."""
    if len(found) != len(wanted) or any(map(int.__gt__, found, wanted)):
        return "fails"
    rows = found[0] < wanted[0] and found[1:] == wanted[1:]
    return (
        "corrupt"
        if rows and part.endswith((".gate_proj.weight_scale", ".up_proj.weight_scale"))
        else "unknown"
    )


_BY_INPUT = frozenset({"o_proj", "down_proj"})
_BY_OUTPUT = frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"})
_INPUT_FIRST = frozenset({"gptq", "awq"})
"""Formats whose tensors have the input dimension first."""


def _cut(part: str, layout: Layout | None, found: Shape, wanted: Shape) -> bool:
    """Whether a rank takes the first part of a tensor that is too long where it is split over devices, and no error.

    ``RowvLLMParameter.load_row_parallel_weight`` and its like of ``parameter.py`` take their share by ``narrow``.
    """
    if layout is None or len(found) != 2 or len(wanted) != 2:
        return False
    module, _, leaf = part.rpartition(".")
    last = module.rpartition(".")[2]
    first = layout.format in _INPUT_FIRST
    whole_rows = "scale" in leaf and not (layout.group or layout.block)
    if last in _BY_INPUT and not whole_rows:
        dim = 0 if first else 1
    elif last in _BY_OUTPUT:
        dim = 1 if first else 0
    else:
        return False
    return found[dim] > wanted[dim] and found[1 - dim] == wanted[1 - dim]


def _mixed(view: View, known: Architecture, choose: Choose, data: Data) -> list[Event]:
    """Return the fused groups whose parts do not all have one layout, and experts whose matrices have not."""
    layouts: dict[tuple[str, str], dict[Layout | None, str]] = {}
    fused = {part: name for name, parts in facts.groups(data) for part in parts}
    for signature in view.signatures:
        last = signature.template.rpartition(".")[2]
        if is_expert(signature):
            for layer, modules in by_layer(signature.modules).items():
                layouts.setdefault((layer, "experts"), {})[choose(signature, modules[0])] = modules[0]
        elif last in fused and is_linear(signature, known):
            for module in signature.modules:
                key = (module.rpartition(".")[0], fused[last])
                layouts.setdefault(key, {})[choose(signature, module)] = module
    mixed: dict[str, list[str]] = {}
    for (_, name), split in layouts.items():
        if len(split) > 1:
            mixed.setdefault(name, []).extend(split.values())
    return [
        Event("fused-mix", "fails", {"group": name}, tuple(_places(view, modules)), name, len(modules))
        for name, modules in mixed.items()
    ]


def _uneven(view: View, known: Architecture, family: str, choose: Choose, data: Data) -> Iterator[Event]:
    """Yield parts of fused layers, the last of each aside, whose rows are no whole number of tiles.

    ``fp8_utils.validate_fp8_block_shape``; what several devices ask for beyond that is in `parallel`.
    """
    inner = {part for _, parts in facts.groups(data) for part in parts[:-1]}
    for signature in view.signatures:
        part = signature.template.rpartition(".")[2]
        layout = choose(signature, signature.modules[0]) if part in inner and signature.modules else None
        rows = (
            shape_of(signature, known)[0] if layout and layout.block and is_linear(signature, known) else None
        )
        if layout and layout.block and rows and rows % layout.block[0]:
            value = f"{list(layout.block)} where {part} has {rows} rows"
            told = {"loader": "vLLM", "method": family, "key": "tiles of", "value": value}
            yield Event("method-refused", "fails", told, tuple(_places(view, signature.modules)))
            return


def _places(view: View, modules: Iterable[str]) -> Iterator[Location]:
    for module in list(modules)[:100]:
        leaf = next(
            (leaf for leaf in ("weight", "qweight", "weight_packed") if f"{module}.{leaf}" in view.owner), ""
        )
        yield Location(view.owner.get(f"{module}.{leaf}", ""), tensor=f"{module}.{leaf}")
