"""compressed-tensors, FP8, GPTQ and AWQ in vLLM: which modules it builds quantised, and what a difference costs.

Read off ``layers/quantization/{compressed_tensors,fp8.py,auto_gptq.py,auto_awq.py}`` and ``utils/quant_utils.py`` of
0.20.0, 0.27.1, 0.30.0 and 0.32.0. A parameter that no file fills keeps what was in memory: quantised models have no
completeness check (``DefaultModelLoader.track_weights_loading``). A name without a parameter raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ... import ruledata
from ...checkpoint.nouns import Checkpoint, Leaf, Signature, View
from ...model import Location, Outcome, Target
from .. import facts, skips
from ..base import Event
from ..modules import Architecture
from ..precision import Held
from . import declared, mxfp4
from .layout import Layout, Shape
from .matching import Choose, Policy, compared, is_linear

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
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
}
"""Method → the family modelled here."""

_SOURCE_DTYPES = frozenset({"F16", "BF16", "F32"})
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


def read(ckpt: Checkpoint, view: View, known: Architecture, method: str, target: Target, data: Data) -> Read:
    """Say how vLLM reads a checkpoint under ``method``, one of `FAMILIES`."""
    block = declared.block_in_vllm(ckpt)
    family = FAMILIES[method]
    if family == "mxfp4":
        return Read(*mxfp4.read(view, "", lambda both: "corrupt", "unknown"), "")
    chosen = _chooser(family, view, known, block, target, data)
    if isinstance(chosen, str):
        return Read({}, [], chosen)
    held, events = compared(view, known, chosen, _policy(ckpt, target, data), "")
    events += _mixed(view, known, chosen, data)
    quantised_experts = any(s.stored.quantized and ".experts" in s.template for s in view.signatures)
    return Read(held, events, f"{family} experts have not been observed in vLLM" if quantised_experts else "")


def _chooser(
    family: str, view: View, known: Architecture, block: Mapping[str, object], target: Target, data: Data
) -> Choose | str:
    if family == "compressed-tensors":
        return _compressed(block, data)
    if family == "fp8":
        layout = declared.fp8(block)
        listed = declared.texts(block.get("ignored_layers")) or declared.texts(
            block.get("modules_to_not_convert")
        )
        exact = frozenset(listed)
        return lambda _, module: (
            None if _is_head(module) or exact & set(skips.vllm_names(module, data)) else layout
        )
    rules = block.get("dynamic")
    rules = rules if isinstance(rules, dict) else {}
    if any(not key.startswith("-:") for key in rules):
        return "GPTQ rules for single modules are not modelled"
    if family == "gptq" and (block.get("sym") is False or block.get("bits") not in (4, 8)):
        return "asymmetric GPTQ, or of other widths than 4 and 8, depends on the device"
    layout_ = declared.gptq(block) if family == "gptq" else declared.awq(block)
    if layout_ is None:
        return f"{family} with these bits is not modelled"
    return _from_headers(family, view, layout_, block, target, data)


def _compressed(block: Mapping[str, object], data: Data) -> Choose:
    found, ignored = declared.groups(block), skips.compressed_tensors(declared.texts(block.get("ignore")))
    targeted = [(group, skips.compressed_tensors(group.targets)) for group in found]

    def choose(_: Signature, module: str) -> Layout | None:
        names = skips.vllm_names(module, data)
        if any(ignored(name) for name in names):
            return None
        for group, means in targeted:
            if any(means(name) for name in names):
                return group.layout
        by_class = (group.layout for group in found if "Linear" in group.targets)
        return None if _is_head(module) else next(by_class, None)

    return choose


def _from_headers(
    family: str, view: View, layout: Layout, block: Mapping[str, object], target: Target, data: Data
) -> Choose:
    """GPTQ and AWQ without a list infer it from the dtypes in the files (``maybe_update_config``)."""
    key = "modules_in_block_to_quantize" if family == "gptq" else "modules_to_not_convert"
    listed = declared.texts(block.get(key))
    wanted = family == "gptq"
    rules = block.get("dynamic")
    negative = [rule[2:] for rule in rules if rule.startswith("-:")] if isinstance(rules, dict) else []
    left_out = skips.from_start(negative)
    nothing = not any(_has_codes(signature) for signature in view.signatures)
    everything = nothing and wanted and facts.does(data, "gptq-without-codes-is-gptq", target.version)

    def choose(signature: Signature, module: str) -> Layout | None:
        if _is_head(module) or any(left_out(name) for name in skips.vllm_names(module, data)):
            return None
        if listed:
            return layout if any(text in module for text in listed) == wanted else None
        return layout if everything or _has_codes(signature) else None

    return choose


def _has_codes(signature: Signature) -> bool:
    return any(leaf.dtype and leaf.dtype not in _SOURCE_DTYPES for leaf in signature.leaves)


def _is_head(module: str) -> bool:
    return module.rpartition(".")[2] == "lm_head"


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


def _policy(ckpt: Checkpoint, target: Target, data: Data) -> Policy:
    dropped = drops_name(ckpt, target, data)
    optional = {"weight_shape"}
    if facts.does(data, "desc-act-refused", target.version):
        optional.add("g_idx")

    def missing(leaf: str, _: Layout | None) -> Outcome:
        return "ok" if leaf in optional else "corrupt"

    def misshapen(leaf: str, _layout: Layout | None, _found: Leaf, _wanted: Shape) -> Outcome:
        return "ok" if leaf == "weight_shape" else "fails"

    return Policy(
        missing, lambda tensor: "ok" if dropped(tensor) else "fails", misshapen, lambda dtype: "corrupt"
    )


def _mixed(view: View, known: Architecture, choose: Choose, data: Data) -> list[Event]:
    """Return the fused groups whose parts do not all have one layout."""
    layouts: dict[tuple[str, str], dict[Layout | None, str]] = {}
    fused = {part: name for name, parts in facts.groups(data) for part in parts}
    for signature in view.signatures:
        last = signature.template.rpartition(".")[2]
        if last in fused and is_linear(signature, known):
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


def _places(view: View, modules: Iterable[str]) -> Iterator[Location]:
    for module in list(modules)[:100]:
        leaf = next(
            (leaf for leaf in ("weight", "qweight", "weight_packed") if f"{module}.{leaf}" in view.owner), ""
        )
        yield Location(view.owner.get(f"{module}.{leaf}", ""), tensor=f"{module}.{leaf}")
