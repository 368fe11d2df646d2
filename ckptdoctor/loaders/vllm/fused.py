"""Layers that vLLM makes of several: what their parts must have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...checkpoint.nouns import View
from ...formats.layout import Layout
from ...model import Location
from .. import facts
from ..base import Event
from ..shared.quantised.matching import Choose, by_layer, is_expert, is_linear, shape_of
from .run import VllmRun


def mixed(run: VllmRun, choose: Choose) -> list[Event]:
    """Return the fused layers whose parts do not all have one layout, and experts whose matrices have not.

    ``quant_utils.is_layer_skipped`` and ``compressed_tensors/utils.should_ignore_layer`` raise there.
    """
    layouts: dict[tuple[str, str], dict[Layout | None, str]] = {}
    whole = {part: name for name, parts in facts.groups(run.data) for part in parts}
    for signature in run.view.signatures:
        last = signature.template.rpartition(".")[2]
        if is_expert(signature):
            for layer, modules in by_layer(signature.modules).items():
                layouts.setdefault((layer, "experts"), {})[choose(signature, modules[0])] = modules[0]
        elif last in whole and is_linear(signature, run.known):
            for module in signature.modules:
                key = (module.rpartition(".")[0], whole[last])
                layouts.setdefault(key, {})[choose(signature, module)] = module
    found: dict[str, list[str]] = {}
    for (_, name), split in layouts.items():
        if len(split) > 1:
            found.setdefault(name, []).extend(split.values())
    return [
        Event("fused-mix", "fails", {"group": name}, tuple(_places(run.view, modules)), name, len(modules))
        for name, modules in found.items()
    ]


def uneven(run: VllmRun, choose: Choose, method: str) -> Iterator[Event]:
    """Yield parts of fused layers, the last of each aside, whose rows are no whole number of tiles.

    ``fp8_utils.validate_fp8_block_shape``; what several devices ask for beyond that is in `parallel`.
    """
    inner = {part for _, parts in facts.groups(run.data) for part in parts[:-1]}
    for signature in run.view.signatures:
        part = signature.template.rpartition(".")[2]
        layout = choose(signature, signature.modules[0]) if part in inner and signature.modules else None
        if layout is None or layout.block is None or not is_linear(signature, run.known):
            continue
        rows = shape_of(signature, run.known)[0]
        if rows and rows % layout.block[0]:
            value = f"{list(layout.block)} where {part} has {rows} rows"
            details = {"loader": "vLLM", "method": method, "key": "tiles of", "value": value}
            yield Event("method-refused", "fails", details, tuple(_places(run.view, signature.modules)))
            return


def _places(view: View, modules: Iterable[str]) -> Iterator[Location]:
    for module in list(modules)[:100]:
        leaves = ("weight", "qweight", "weight_packed")
        leaf = next((leaf for leaf in leaves if f"{module}.{leaf}" in view.owner), "")
        yield Location(view.owner.get(f"{module}.{leaf}", ""), tensor=f"{module}.{leaf}")
