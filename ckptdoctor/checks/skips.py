"""Skip lists against the tensors: entries that name nothing, modules that they name wrongly or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..checkpoint.names import join
from ..checkpoint.nouns import Declared, Signature
from ..formats import registry
from ..formats.declared import preferred
from ..formats.skips import matched
from ..loaders.base import Event
from ..loaders.shared.modules import ROUTERS, all_readable, architecture, family, kind
from ..model import Fact, Hit, Location, Outcome, Skip, worst
from ..skiplists.entries import Entry
from ..skiplists.matching import Matched
from .base import Context, Params

_LIMIT = 100


def _lists(context: Context) -> Iterator[tuple[Declared, Matched]]:
    """Yield the declaration that loaders go by, with what its entries name."""
    declared = preferred(context.ckpt)
    if declared is not None:
        yield declared, matched(context.view, declared)


def unmatched(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield entries that name no module, where the one they seem to mean is quantised all the same."""
    for _, found in _lists(context):
        if found.doubt or not all_readable(context.ckpt, context.view):
            yield from _doubt(found)
            continue
        if not any(found.hinted):
            continue
        named = found.of("skip")
        owner = {m: s for s in context.view.signatures if s.stored.quantized for m in s.modules}
        for entry, modules, hints in zip(found.entries, found.modules, found.hinted, strict=True):
            meant = [module for module in hints if module in owner and module not in named]
            if entry.effect == "skip" and not modules and meant:
                facts: dict[str, Fact] = {"entry": entry.text[:100], "scheme": owner[meant[0]].stored.scheme}
                at = (*_places(context, meant, owner), Location(entry.file, entry.pointer))
                yield Hit(facts, at, owner[meant[0]].template, len(meant))


def listed(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that the skip list leaves out and that are stored quantised."""
    for declared, found in _lists(context):
        if registry.of(declared, context.rulebook).skips.get("judged_by_loaders"):
            return
        yield from _doubt(found)
        named = found.of("skip")
        for signature in context.view.signatures if named else ():
            if signature.stored.quantized and (wrong := [m for m in signature.modules if m in named]):
                facts: dict[str, Fact] = {"method": declared.method, "scheme": signature.stored.scheme}
                yield _of_modules(context, signature, wrong, facts, named[wrong[0]])


def unlisted(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield modules that are stored quantised, where the config lists what is quantised and does not list them."""
    for _, found in _lists(context):
        if found.doubt or not any(entry.effect == "only" for entry in found.entries):
            yield from _doubt(found)
            continue
        named, skipped = found.of("only"), found.of("skip")
        first = next(entry for entry in found.entries if entry.effect == "only")
        for signature in context.view.signatures:
            if ".experts." in signature.template or signature.template.endswith("lm_head"):
                continue  # vLLM builds experts as one layer, and the head is told of by a key of its own
            wrong = [m for m in signature.modules if m not in named and m not in skipped]
            if signature.stored.quantized and wrong:
                yield _of_modules(context, signature, wrong, {"scheme": signature.stored.scheme}, first)


def dense(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield 16-bit modules that no list leaves out, though the like of them is quantised.

    Where a list is complete any linear layer counts; elsewhere a module must have siblings
    in other layers that are quantised, as quantisers do not list what they never look at (routers, vision towers).
    What else the models of the loaders look for in vain is told too.
    """
    told = _looked_for(context)
    for declared, found in _lists(context):
        yield from _doubt(found)
        if not _quantises_anything(context):
            return
        place = Entry("", "by-name", "skip", declared.file, declared.pointer)
        for signature, modules in _forgotten(context, declared, found):
            events = told.pop(signature.template, [])
            hit = _of_modules(context, signature, modules, {"method": declared.method}, place)
            yield hit._replace(outcome=_outcomes(context, dict(events), declared))
        for template, events in told.items():
            event = max((event for _, event in events), key=lambda event: event.count)
            hit = Hit({"method": declared.method}, event.at, template, event.count)
            yield hit._replace(outcome={label: event.outcome for label, event in events})


def all_dense(context: Context, params: Params) -> Iterator[Hit | Skip]:
    """Yield once if loaders look for quantised modules and every module is 16-bit."""
    told = _looked_for(context)
    declared = preferred(context.ckpt)
    if declared is None or not told or _quantises_anything(context):
        return
    outcomes: dict[str, Outcome] = {}
    for events in told.values():
        for label, event in events:
            outcomes[label] = worst([event.outcome, outcomes.get(label, "ok")])
    count = sum(max(event.count for _, event in events) for events in told.values())
    at = (
        Location(declared.file, declared.pointer),
        *(place for rows in told.values() for place in rows[0][1].at),
    )
    yield Hit({"method": declared.method}, at[:_LIMIT], "", count, outcomes)


def _looked_for(context: Context) -> dict[str, list[tuple[str, Event]]]:
    """Return template → target and event, of the 16-bit modules that loaders take for quantised ones."""
    told: dict[str, list[tuple[str, Event]]] = {}
    for reading in context.readings:
        for event in reading.events:
            if event.code == "dense-unlisted":
                told.setdefault(event.subject, []).append((reading.target.label, event))
    return told


def _quantises_anything(context: Context) -> bool:
    return any(signature.stored.quantized for signature in context.view.signatures)


def _forgotten(context: Context, declared: Declared, found: Matched) -> Iterator[tuple[Signature, list[str]]]:
    if not _lists_dense(context, declared, found):
        return
    only = any(entry.effect == "only" for entry in found.entries)
    named, wanted = found.of("skip"), found.of("only")
    meant = {module for modules in found.hinted for module in modules}
    for signature in _plain_linear(context, declared):
        wrong = [
            m for m in signature.modules if m not in named and m not in meant and (not only or m in wanted)
        ]
        if wrong:
            yield signature, wrong


def _lists_dense(context: Context, declared: Declared, found: Matched) -> bool:
    """Whether a list is there, clear, and of a format in which it names the 16-bit modules."""
    format_ = registry.of(declared, context.rulebook)
    if found.doubt or not format_.states(declared) or not format_.skips.get("dense_is_listed"):
        return False
    return bool(found.entries) or not format_.skips.get("list_optional")


def _outcomes(context: Context, told: Mapping[str, Event], declared: Declared) -> dict[str, Outcome]:
    """Return what the models of the loaders say about a 16-bit module.

    Where one is silent, it may read off the files what is quantised; else nothing is known.
    """
    outcomes: dict[str, Outcome] = {}
    read_off = bool(registry.of(declared, context.rulebook).skips.get("read_off_files"))
    for reading in context.readings:
        label = reading.target.label
        inferred = read_off and reading.loaded_as and not reading.plan.unknown
        outcomes[label] = told[label].outcome if label in told else "ok" if inferred else "unknown"
    return outcomes


def _plain_linear(context: Context, declared: Declared) -> Iterator[Signature]:
    """Yield the signatures of 16-bit linear layers that are expected to be quantised."""
    known = architecture(context.ckpt, context.view)
    whole_list = bool(registry.of(declared, context.rulebook).skips.get("complete"))
    for signature in context.view.signatures:
        last = signature.template.rpartition(".")[2]
        dense = family(signature.stored.scheme) == "dense" and signature.leaf("weight") is not None
        if not dense or last in ROUTERS or last == "lm_head":
            continue
        siblings = any(other.stored.quantized for other in context.view.templates[signature.template])
        complete = whole_list and known.expected is not None
        if siblings or (complete and kind(signature, known) == "linear"):
            yield signature


def _doubt(found: Matched) -> Iterator[Skip]:
    if found.doubt:
        yield Skip("", "abstained", found.doubt)


def _of_modules(
    context: Context, signature: Signature, modules: list[str], facts: dict[str, Fact], entry: Entry
) -> Hit:
    at = (
        *_places(context, modules, dict.fromkeys(modules[:_LIMIT], signature)),
        Location(entry.file, entry.pointer),
    )
    return Hit(facts, at, signature.template, len(modules))


def _places(context: Context, modules: Iterable[str], owner: dict[str, Signature]) -> Iterator[Location]:
    for module, _ in zip(modules, range(_LIMIT - 1), strict=False):
        tensor = join(module, owner[module].leaves[0].name)
        yield Location(context.view.owner.get(tensor, ""), tensor=tensor)
