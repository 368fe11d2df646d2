"""Compare what a config calls for with what is stored, module by module: one event per kind of difference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ....checkpoint.nouns import Leaf, Signature, View
from ....formats.layout import Layout, Shape
from ....model import Outcome, worst
from ....skiplists.matching import FUSED
from ...base import Event, LoadedAs
from ..modules import ROUTERS, Architecture, family, kind
from ..precision import cast, places

Choose = Callable[[Signature, str], Layout | None]
"""Signature and module → the layout the loader expects there, None for a plain weight."""

_BESIDE = frozenset({"bias", "k_scale", "v_scale", "q_scale", "kv_scale", "output_scale", "prob_scale"})
"""Leaves that are no part of a weight."""
_CODES = frozenset({"I8", "U8", "F8_E4M3", "F8_E5M2"})
_USUAL = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"})
_WHOLE = frozenset(FUSED) | {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "fc1", "fc2"}
"""Names of linear layers where the architecture is known to have such; elsewhere they may be something else."""
_EXPERT = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})


class Parts(ABC):
    """What a loader does about each kind of difference between the parts it asks for and those that are stored.

    A part is named ``template.leaf``; ``layout`` is None where a plain weight is expected.
    """

    @abstractmethod
    def part_missing(self, leaf: str, layout: Layout | None) -> Outcome:
        """Say what it costs that a part it asks for is not there."""

    @abstractmethod
    def part_unplaced(self, part: str) -> Outcome:
        """Say what it costs that a part is there that it has no place for."""

    @abstractmethod
    def part_misshapen(self, part: str, layout: Layout | None, found: Leaf, wanted: Shape) -> Outcome:
        """Say what it costs that a part has another shape."""

    @abstractmethod
    def plain_codes(self, dtype: str) -> Outcome:
        """Say what it costs that a weight of integers or FP8 goes where a plain one is expected."""


class Difference(NamedTuple):
    """One difference: what kind, at which part, and what was expected."""

    code: str
    leaf: str
    outcome: Outcome
    expected: Shape | None = None
    got: Shape | None = None


def compared(
    view: View,
    known: Architecture,
    choose: Choose,
    loader: Parts,
    dtype: str,
    takes: Callable[[Signature], bool] | None = None,
) -> tuple[LoadedAs, list[Event]]:
    """Return how every module is loaded and the events on the way; ``takes`` tells which a quantiser is asked about."""
    loaded_as: LoadedAs = {}
    events: list[Event] = []
    for index, signature in enumerate(view.signatures):
        if not signature.modules:
            continue
        if not (takes(signature) if takes else is_linear(signature, known)):
            loaded_as[index] = {cast(signature, dtype): signature.modules}
            continue
        split: dict[Layout | None, list[str]] = {}
        for layout, modules in _chosen(signature, choose):
            split.setdefault(layout, []).extend(modules)
        loaded_as[index] = {}
        for layout, modules in split.items():
            scheme = (
                signature.stored.scheme if layout and signature.stored.quantized else cast(signature, dtype)
            )
            loaded_as[index][scheme] = modules
            events += _events(view, signature, modules, layout, known, loader)
    return loaded_as, events


def _chosen(signature: Signature, choose: Choose) -> Iterator[tuple[Layout | None, Sequence[str]]]:
    """Yield layout and modules; the experts of one layer are asked for once, for there may be a hundred thousand."""
    if not is_expert(signature):
        for module in signature.modules:
            yield choose(signature, module), (module,)
        return
    for modules in by_layer(signature.modules).values():
        yield choose(signature, modules[0]), modules


def by_layer(experts: Sequence[str]) -> dict[str, list[str]]:
    """Return the matrices of experts by the layer they are in."""
    found: dict[str, list[str]] = {}
    for module in experts:
        found.setdefault(module.rpartition(".experts.")[0], []).append(module)
    return found


def is_linear(signature: Signature, known: Architecture, named: frozenset[str] = _WHOLE) -> bool:
    """Whether quantisers touch this module: a linear layer by the architecture, not an expert and not a router."""
    last = signature.template.rpartition(".")[2]
    if signature.template == "" or last in ROUTERS or ".experts." in signature.template:
        return False
    usual = last in _USUAL or (last in named and known.expected is not None)
    return kind(signature, known) in ("linear", "head") and (signature.stored.quantized or usual)


def is_expert(signature: Signature) -> bool:
    """Whether this is one matrix of one of several experts."""
    return ".experts." in signature.template and signature.template.rpartition(".")[2] in _EXPERT


def quantised_experts(view: View) -> list[Signature]:
    """Return the quantised modules inside experts, under whatever names."""
    return [
        signature
        for signature in view.signatures
        if signature.stored.quantized and ".experts" in signature.template
    ]


def shape_of(signature: Signature, known: Architecture) -> tuple[int | None, int | None]:
    """Return rows and columns of the weight: by the architecture, else as the tensors themselves solve to."""
    if known.expected is not None:
        for spelling in (f"{signature.template}.weight", f"model.{signature.template}.weight"):
            shapes = {entry.shape for entry in known.expected.entries.get(spelling, ())}
            if len(shapes) == 1 and (shape := shapes.pop()) and len(shape) == 2:
                return shape
    return signature.stored.out_features, signature.stored.in_features


def _events(
    view: View,
    signature: Signature,
    modules: Sequence[str],
    layout: Layout | None,
    known: Architecture,
    loader: Parts,
) -> Iterator[Event]:
    rows, columns = shape_of(signature, known)
    wanted = {"weight": None} if layout is None else layout.parts(rows, columns)
    if wanted is None:
        return
    for part in differences(signature, layout, wanted, loader):
        details: dict[str, object] = {"leaf": part.leaf}
        if part.expected is not None and part.got is not None:
            details |= {"expected": part.expected, "got": part.got}
        at = places(view, modules, part.leaf)
        yield Event(part.code, part.outcome, details, at, signature.template, len(modules))  # type: ignore[arg-type]


def differences(
    signature: Signature, layout: Layout | None, wanted: Mapping[str, Shape | None], loader: Parts
) -> Iterator[Difference]:
    """Yield the differences between the parts a loader asks for and those a module has."""
    weight = signature.leaf("weight")
    if layout is not None and weight and family(signature.stored.scheme) == "dense":
        lacks = [loader.part_missing(name, layout) for name in wanted if name != "weight"]
        excess = [loader.part_unplaced(part) for _, part in _excess(signature, wanted)]
        yield Difference("dense-unlisted", "weight", worst([*lacks, *excess]))
        return
    yield from _wanted(signature, layout, wanted, loader)
    for leaf, part in _excess(signature, wanted):
        yield Difference("part-unplaced", leaf, loader.part_unplaced(part))
    if layout is None and weight and weight.dtype in _CODES:
        yield Difference("plain-codes", "weight", loader.plain_codes(weight.dtype))


def _wanted(
    signature: Signature, layout: Layout | None, wanted: Mapping[str, Shape | None], loader: Parts
) -> Iterator[Difference]:
    """Yield the parts that are asked for and missing, or of another shape."""
    for name, shape in wanted.items():
        leaf = signature.leaf(name)
        if leaf is None:
            yield Difference("part-missing", name, loader.part_missing(name, layout))
        elif shape is not None and leaf.dtype and not _same(leaf.shape, shape):
            outcome = loader.part_misshapen(f"{signature.template}.{name}", layout, leaf, shape)
            yield Difference("part-shape", name, outcome, shape, leaf.shape)


def _excess(signature: Signature, wanted: Mapping[str, Shape | None]) -> Iterator[tuple[str, str]]:
    """Yield leaf and ``template.leaf`` of each part that nothing asks for."""
    for leaf in signature.leaves:
        if leaf.name not in wanted and leaf.name not in _BESIDE:
            yield leaf.name, f"{signature.template}.{leaf.name}"


def _same(found: Shape, wanted: Shape) -> bool:
    return found == wanted or (wanted == (1,) and found in ((), (1, 1)))
