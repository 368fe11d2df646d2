"""What a loader does about tensors the architecture expects and the files lack, hold in excess, or hold misshapen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...checkpoint.nouns import View
from ...expected.comparison import Comparison, Missing
from ...model import MAX_LOCATIONS, Aspect, Facts, Location, worst
from ..base import Event
from .method import Completeness
from .modules import Architecture

_FEW = 0.1
"""Below this share of expected tensors the names follow another scheme altogether."""
_MOST = 0.8
_TOLD = 20
"""Numbers of lost layers that are told."""
_COMPONENT = 10
"""So many unexpected name templates under foreign top-level names are another model's component, kept on purpose."""
_KINDS_PER_UNKNOWN_SHAPE = 20
"""Of so many kinds of tensors one may have a shape that the rulebook does not know."""
WRAPPERS = ("_orig_mod.", "module.", "base_model.model.", "language_model.")
"""Prefixes that torch.compile, DistributedDataParallel, PEFT and multimodal models put before every name inside."""


def tensor_events(view: View, known: Architecture, loader: Completeness) -> Iterator[Event]:
    """Yield what ``loader`` does about each difference between files, all readable, and the architecture."""
    found = known.comparison
    if found is None or not found.expected:
        return
    strangers = sum(row.total for row in found.unexpected)
    if found.matched < _FEW and found.expected > 1 and strangers >= found.found:
        outcome = worst([loader.missing(_EVERYTHING), loader.unexpected("")])
        yield Event("foreign-names", outcome, {"wrapped": _wrapper(view)}, (Location(""),))
        return
    yield from _lost_layers(view, found, loader)
    yield from _missing(found, loader)
    yield from _unexpected(found, known, loader)
    for wrong in found.mismatched:
        yield Event(
            "shape-mismatch",
            loader.mismatched(wrong),
            {"expected": wrong.expected, "got": wrong.got, "formula": wrong.formula},
            (Location("", tensor=wrong.name),),
            wrong.template,
            wrong.total,
        )
    if found.bare:
        yield Event("bare-names", loader.bare, {}, ())
    if found.doubled:
        yield Event(
            "doubled-prefix", loader.doubled, {"prefix": known.expected.prefix if known.expected else ""}, ()
        )


def compared(view: View, known: Architecture) -> tuple[Aspect, Aspect]:
    """Return whether names and shapes, of files that are all readable, were compared with what the class asks for."""
    if known.comparison is None or known.expected is None:
        why = Aspect("no", known.reason or "what the class asks for is not known")
        return why, why
    if not all(leaf.dtype for signature in view.signatures for leaf in signature.leaves):
        return Aspect("yes"), Aspect("no", "only an index is here, which tells names alone")
    kinds = known.expected.entries.items()
    unknown = [template for template, entries in kinds if any(entry.shape is None for entry in entries)]
    if len(unknown) * _KINDS_PER_UNKNOWN_SHAPE > len(known.expected.entries):
        return Aspect("yes"), Aspect(
            "no", f"of {len(unknown)} kinds, such as {unknown[0]}, the shape is not known"
        )
    return Aspect("yes"), Aspect("yes", f"all but {', '.join(unknown)}" if unknown else "")


def uncompared(why: str) -> tuple[Aspect, Aspect]:
    """Return that neither names nor shapes were compared; an adapter's are where ``why`` is empty."""
    found = Aspect("no", why) if why else Aspect("yes")
    return found, found


def _lost_layers(view: View, found: Comparison, loader: Completeness) -> Iterator[Event]:
    """Yield an event for every stack of which whole layers are missing: nothing of them is stored by any name."""
    if found.bare or found.doubled:
        return
    for stack, layers in _by_layer(found.missing).items():
        stored = _layers_stored(view, stack)
        gone = {number: rows for number, rows in layers.items() if number not in stored and len(rows) > 1}
        if gone:
            rows = {row.template: row for every in gone.values() for row in every}
            starts = tuple(f"{stack}.{number}." for number in gone)
            names = frozenset(n for row in rows.values() for n in row.names if n.startswith(starts))
            facts: Facts = {"layers": ", ".join([*gone][:_TOLD]), "tensors": len(names)}
            outcome = worst([loader.missing(row) for row in rows.values()])
            yield Event("layers-missing", outcome, facts, (), stack, len(gone), accounts_for=names)


def _by_layer(missing: Iterable[Missing]) -> dict[str, dict[str, list[Missing]]]:
    """Return stack (``model.layers``) → number of a layer → what of it is missing."""
    lost: dict[str, dict[str, list[Missing]]] = {}
    for row in missing:
        stack, star, _ = row.template.partition(".*.")
        for number in dict.fromkeys(index[0] for index in row.indices) if star else ():
            lost.setdefault(stack, {}).setdefault(number, []).append(row)
    return lost


def _layers_stored(view: View, stack: str) -> set[str]:
    """Return the numbers of the layers of a stack of which anything is stored."""
    at = stack.count(".") + 1
    return {
        module.split(".", at + 1)[at]
        for signature in view.signatures
        if signature.template.startswith(f"{stack}.*")
        for module in signature.modules
    }


def _missing(found: Comparison, loader: Completeness) -> Iterator[Event]:
    """Yield an event for every template of which tensors are missing, or cannot be told from others."""
    for row in found.missing:
        yield Event(
            "missing-tensor",
            loader.missing(row),
            {"kind": row.kind},
            tuple(
                Location("", tensor=name) for name, _ in zip(row.names, range(MAX_LOCATIONS), strict=False)
            ),
            row.template,
            len(row.indices),
        )
    for row in found.unclear:
        yield Event("missing-tensor", "unknown", {"kind": row.kind}, (), row.template, len(row.indices))


def _unexpected(found: Comparison, known: Architecture, loader: Completeness) -> Iterator[Event]:
    """Yield an event for every template of which tensors are stored that nothing asks for.

    What a loader passes over without a word is no harm (a buffer, a leftover), unless the model that was saved had it
    as a part: a parameter of a module that config.json leads to as well, or layers beyond those it counts.
    """
    foreign = _component(known)
    surplus = [extra for extra in found.unexpected if _is_known(extra.template, known)]
    if all(known.kinds.get(extra.template) == "expert" for extra in surplus):
        surplus = []
    if surplus:
        outcome = worst([loader.surplus(extra.template) for extra in surplus])
        yield Event(
            "more-layers", outcome, {}, (), surplus[0].template, sum(extra.total for extra in surplus)
        )
    for extra in found.unexpected:
        if extra in surplus:
            continue
        outcome = loader.unexpected(extra.template)
        if _is_parameter(extra.template, known):
            lost = "corrupt" if outcome == "ok" else outcome
            yield Event("parameter-dropped", lost, {}, (), extra.template, extra.total)
            continue
        if _is_known(extra.template, known):  # an expert beyond those that are counted
            outcome = worst([outcome, "unknown"])
        elif outcome != "ok" and extra.template in foreign:
            outcome = "unknown"
        yield Event("unexpected-tensor", outcome, {}, (), extra.template, extra.total)


def _is_known(template: str, known: Architecture) -> bool:
    return known.expected is not None and (
        template in known.expected.entries or template in known.expected.fused
    )


def _is_parameter(template: str, known: Architecture) -> bool:
    """Whether this is a bias of a module of which the weight is asked for."""
    module, _, leaf = template.rpartition(".")
    return leaf == "bias" and _is_known(f"{module}.weight", known)


def _wrapper(view: View) -> str:
    """Return the wrapper that (nearly) every name is in, without its dot, "" when there is none."""
    for prefix in WRAPPERS:
        inside = sum(signature.template.startswith(prefix) for signature in view.signatures)
        if view.signatures and inside > _MOST * len(view.signatures):
            return prefix.rstrip(".")
    return ""


def _component(known: Architecture) -> frozenset[str]:
    """Return unexpected templates that look like a whole component of another model (a vision tower, say)."""
    if known.comparison is None or known.expected is None:
        return frozenset()
    own = {template.partition(".")[0] for template in known.expected.entries}
    foreign = [
        extra.template for extra in known.comparison.unexpected if extra.template.partition(".")[0] not in own
    ]
    return frozenset(foreign) if len(foreign) >= _COMPONENT else frozenset()


_EVERYTHING = Missing("", ((),), "linear")
