"""Which layout vLLM builds every module with, method by method: linear layers, experts, and routers where it does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ... import ruledata
from ...checkpoint.nouns import Signature, View
from ...model import Target
from ...skiplists.matching import FUSED
from ..shared import facts, skips
from ..shared.modules import ROUTERS, Architecture, kind
from ..shared.quantised import declared, modelopt, names
from ..shared.quantised.layout import Layout
from ..shared.quantised.matching import Choose, is_expert, is_linear, quantised_experts

Data = Mapping[str, object]

_SOURCE_DTYPES = frozenset({"F16", "BF16", "F32"})


def chooser(
    family: str, view: View, known: Architecture, block: Mapping[str, object], target: Target, data: Data
) -> Choose | str:
    """Return the choice, or why there is none."""
    if family == "compressed-tensors":
        return _compressed(block, target, data)
    if family == "fp8":
        return _fp8(block, target, data)
    if family == "modelopt":
        layout = modelopt.layout(block)
        if layout is None:
            return f"ModelOpt's {modelopt.algorithm(block)[:40]} is not modelled"
        skipped = names.excluded(modelopt.listed(block), data)
        head = facts.does(data, "modelopt-head-is-quantised", target.version)
        return lambda _, module: None if skipped(module) or (_is_head(module) and not head) else layout
    return _from_headers(family, view, block, target, data)


def doubt(
    family: str,
    view: View,
    known: Architecture,
    block: Mapping[str, object],
    target: Target,
    data: Data,
) -> str:
    """Return why the choice may be another on another device or for a larger model, "" where it is not."""
    experts = quantised_experts(view)
    if not experts:
        return ""
    if any(kind(signature, known) != "expert" for signature in experts):
        return "the names that this architecture has for its experts are not known"
    if family == "awq" and not facts.does(data, "awq-experts-are-quantised", target.version):
        return "AWQ experts of this version have a path of their own on a CPU, and were not observed on a GPU"
    rules = block.get("dynamic")
    if family == "gptq" and isinstance(rules, dict) and any(rule.startswith("-:") for rule in rules):
        return "GPTQ rules leave out experts or not, as the kernel for their sizes has it"
    return ""


def takes(signature: Signature, known: Architecture, routers: bool) -> bool:
    """Whether the method is asked about this module."""
    router = signature.template.rpartition(".")[2] in ROUTERS
    # FUSED alone: models with other names may run in vLLM as they are in transformers, under names of their own
    return is_linear(signature, known, frozenset(FUSED)) or is_expert(signature) or (router and routers)


def quantises_routers(config: Mapping[str, object], target: Target, data: Data) -> bool:
    """Whether the model hands its quantisation on to its routers, which then must be in the skip list."""
    architectures = config.get("architectures")
    return any(
        isinstance(architectures, list)
        and row["architecture"] in architectures
        and ruledata.matches(row["versions"], target.version)
        for row in facts.rows(data, "routers_quantised")
    )


def _fp8(block: Mapping[str, object], target: Target, data: Data) -> Choose:
    layout = declared.fp8(block)
    listed = declared.texts(block.get("ignored_layers")) or declared.texts(
        block.get("modules_to_not_convert")
    )
    fused = facts.does(data, "lists-know-fused-names", target.version)
    skipped = names.in_list(listed, data, whole=True, fused_names=fused)
    return lambda _, module: None if _is_head(module) or skipped(module) else layout


def _compressed(block: Mapping[str, object], target: Target, data: Data) -> Choose:
    """Ask for the layer that a module becomes (``find_matched_target``); the ignore list is asked part by part.

    A target that is there twice has the settings of its last group. Experts have those of the first of them.
    """
    targets = {name: group.layout for group in declared.groups(block) for name in group.targets}
    means = [(one, skips.compressed_tensors((one,))) for one in targets]
    ignore = frozenset(declared.texts(block.get("ignore")))
    ignored = skips.compressed_tensors(ignore)
    fused = dict(facts.groups(data))
    expressions = facts.does(data, "ignored-by-fused-expression", target.version)

    def first(name: str) -> str | None:
        return next((one for one, matches in means if matches(name)), None)

    @cache
    def layer(name: str) -> Layout | None:
        parent, _, last = name.rpartition(".")
        found = first(name)
        if found is None and last in fused:
            each = [first(f"{parent}.{part}" if parent else part) for part in fused[last]]
            found = each[0] if all(each) else None
        if found is None and last != "lm_head":
            found = "Linear" if "Linear" in targets else None
        return None if found is None else targets[found]

    def choose(_: Signature, module: str) -> Layout | None:
        if experts := names.experts_of(module):
            module = name = f"{experts}.0.{module.rpartition('.')[2]}"
        else:
            name = names.own(module, data)
        by_layer = ignored(name) if expressions else name in ignore
        return None if by_layer or ignored(module) else layer(name)

    return choose


def _from_headers(
    family: str, view: View, block: Mapping[str, object], target: Target, data: Data
) -> Choose | str:
    """GPTQ and AWQ without a list infer it from the dtypes in the files (``maybe_update_config``)."""
    if family == "gptq" and (block.get("sym") is False or block.get("bits") not in (4, 8)):
        return "asymmetric GPTQ, or of other widths than 4 and 8, depends on the device"
    layout = declared.gptq(block) if family == "gptq" else declared.awq(block)
    if layout is None:
        return f"{family} with these bits is not modelled"
    if family == "awq":
        return _awq(view, block, layout, target, data)
    return _gptq(view, block, layout, target, data)


def _awq(view: View, block: Mapping[str, object], layout: Layout, target: Target, data: Data) -> Choose:
    layout = layout._replace(symmetric=False)  # zero points have a place whatever zero_point says
    listed = declared.texts(block.get("modules_to_not_convert"))
    fused = facts.does(data, "lists-know-fused-names", target.version)
    skipped = names.in_list(listed, data, whole=False, fused_names=fused)

    def choose(signature: Signature, module: str) -> Layout | None:
        if _is_head(module):
            return None
        if listed:
            return None if skipped(module) else layout
        return layout if _has_codes(signature) else None

    return choose


def _gptq(view: View, block: Mapping[str, object], layout: Layout, target: Target, data: Data) -> Choose:
    listed = declared.texts(block.get("modules_in_block_to_quantize"))
    rules = block.get("dynamic")
    overrides = names.by_rule(rules if isinstance(rules, dict) else {}, data)
    nothing = not any(_has_codes(signature) for signature in view.signatures)
    everything = nothing and facts.does(data, "gptq-without-codes-is-gptq", target.version)

    def choose(signature: Signature, module: str) -> Layout | None:
        found = overrides(module)
        if found is None or (
            _is_head(module) and not (block.get("lm_head") is True and _has_codes(signature))
        ):
            return None  # gptq_utils.get_linear_quant_method: a head only where the config says so
        if names.experts_of(module):  # no list is asked about them
            return declared.gptq({**block, **found})
        quantised = names.named(module, listed) if listed else everything or _has_codes(signature)
        return declared.gptq({**block, **found}) if quantised else None

    return choose


def _has_codes(signature: Signature) -> bool:
    return any(leaf.dtype and leaf.dtype not in _SOURCE_DTYPES for leaf in signature.leaves)


def _is_head(module: str) -> bool:
    return module.rpartition(".")[2] == "lm_head"
